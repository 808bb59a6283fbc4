//! What families say of the content of an answer: texts, tool calls and messages of its choices.

use std::borrow::Cow;

use super::choice::{CallKey, Choice, Slot, arguments};
use super::room::Room;
use super::template::Target;
use super::{CHOICES_MAX, Collector, REASON_MAX};
use crate::json::Value;
use crate::provider::api::Api;
use crate::provider::media;

impl Collector {
    /// A piece of the text of a choice.
    pub fn text(&mut self, choice: u64, value: Value<'_>) {
        self.append(choice, Slot::Text, value);
    }

    /// A piece of the reasoning of a choice.
    pub fn reasoning(&mut self, choice: u64, value: Value<'_>) {
        self.append(choice, Slot::Reasoning, value);
    }

    /// A piece of the refusal of a choice.
    pub fn refusal(&mut self, choice: u64, value: Value<'_>) {
        self.append(choice, Slot::Refusal, value);
    }

    /// Begins a new part of the reasoning of a choice.
    pub fn next_reasoning(&mut self, choice: u64) {
        self.change(choice, |choice, room| {
            choice.separate_reasoning(room);
            true
        });
    }

    /// Content came whose bytes are not kept: an image, audio. `data` is base64, or what stands in its place.
    pub fn media(&mut self, choice: u64, data: Value<'_>, mime: Value<'_>) {
        let told = if self.is_cut_off(data) { None } else { media::described(data, mime) };
        self.change(choice, |choice, room| {
            choice.add_media(told.as_deref().unwrap_or("[media, not kept]"), room);
            true
        });
        self.effects.content = true;
    }

    /// The text (a JSON string) stands already in what was collected of a choice.
    #[must_use]
    pub fn holds(&self, choice: u64, value: Value<'_>) -> bool {
        let text = value.text().unwrap_or_default();
        self.choices.iter().any(|known| known.index == choice && known.holds(&text))
    }

    /// The whole text of a choice so far, in place of what was collected. One that was cut may be less than that: then
    /// what is there stays.
    pub fn set_text(&mut self, choice: u64, text: &str) {
        let Some(at) = self.choice(choice) else { return };
        let known = self.choices.get(at).map_or(0, Choice::text_len);
        if self.reads_cut() && text.len() < known {
            return;
        }
        self.restart_at(at);
        self.append_to(Target { choice: at, slot: Slot::Text }, text);
        self.effects.content |= !text.is_empty();
    }

    /// Who speaks in a choice.
    pub fn role(&mut self, choice: u64, value: Value<'_>) {
        if let Some(role) = value.non_empty() {
            self.change(choice, |choice, room| choice.set_role(&role, room));
        }
    }

    /// A piece of audio: its transcript is text, its data is not kept.
    pub fn audio(&mut self, choice: u64, audio: Value<'_>) {
        if !audio.is_object() {
            return;
        }
        if let Some(id) = audio.get("id").non_empty() {
            self.change(choice, |choice, room| choice.set_audio_id(&id, room));
        }
        if let Some(transcript) = audio.get("transcript").something() {
            self.append(choice, Slot::Transcript, transcript);
        }
        self.effects.content |= !audio.get("data").is_nothing();
        self.effects.changes += 1;
    }

    /// Something came that is content and is not kept: audio, an image.
    pub fn content(&mut self) {
        self.effects.content = true;
        self.effects.changes += 1;
    }

    /// A piece of a tool call: its id and name (where they are not known yet), and arguments, which are appended (a text)
    /// or come whole (an object).
    pub fn tool_call(&mut self, choice: u64, key: CallKey<'_>, id: Value<'_>, name: Value<'_>, arguments: Value<'_>) {
        let Some(at) = self.choice(choice) else { return };
        let (id, name) = (id.text().unwrap_or_default(), name.text().unwrap_or_default());
        let Some(found) = self.choices.get_mut(at) else { return };
        let calls = found.calls();
        let Some(call) = found.call(key, &id, &name, &mut self.room) else {
            self.effects.content = true;
            return;
        };
        if found.calls() > calls {
            // What was the last call of its index no longer is.
            self.template.forget();
        }
        let named = found.name_call(call, &id, &name, &mut self.room);
        self.effects.changes += u32::from(named);
        self.effects.content |= !name.is_empty();
        self.append_arguments(Target { choice: at, slot: Slot::Arguments(call) }, arguments);
    }

    /// The whole arguments of a tool call, of which pieces may have come before.
    pub fn tool_arguments(&mut self, choice: u64, key: CallKey<'_>, whole: Value<'_>) {
        let Some(at) = self.choice(choice) else { return };
        let Some(found) = self.choices.get_mut(at) else { return };
        let Some(call) = found.call(key, "", "", &mut self.room) else { return };
        if arguments(whole).len() >= found.arguments_len(call) {
            found.clear_arguments(call, &mut self.room);
            self.append_arguments(Target { choice: at, slot: Slot::Arguments(call) }, whole);
        }
        self.effects.changes += 1;
    }

    /// No more will come of the tool call of that index: one that got no arguments has an empty object of them.
    pub fn end_tool_call(&mut self, choice: u64, index: u64) {
        self.change(choice, |choice, room| choice.end_call(index, room));
    }

    /// A piece of the one function call that the first chat API knew.
    pub fn function_call(&mut self, choice: u64, function: Value<'_>) {
        if !function.is_object() {
            return;
        }
        let name = function.get("name").text().unwrap_or_default();
        self.change(choice, |choice, room| choice.name_function(&name, room));
        self.effects.content |= !name.is_empty();
        if let Some(at) = self.choice(choice) {
            self.append_arguments(Target { choice: at, slot: Slot::FunctionArguments }, function.get("arguments"));
        }
    }

    /// Why a choice ended; the last word counts.
    pub fn finish_reason(&mut self, choice: u64, value: Value<'_>) {
        let reason = match value.non_empty() {
            Some(reason) => reason,
            // Some gateways of Gemini's send the number of the enum.
            None => Cow::Borrowed(value.amount().unwrap_or_default()),
        };
        if reason.is_empty() || self.reads_cut() {
            return;
        }
        let reason = crate::trace::truncate(&reason, REASON_MAX).to_owned();
        self.change(choice, |choice, _| {
            choice.finish_reason = Some(reason);
            true
        });
    }

    /// The message of a choice as it was sent.
    pub fn whole_message(&mut self, choice: u64, message: Value<'_>) {
        self.change(choice, |choice, room| {
            choice.set_message(message, room);
            true
        });
    }

    /// The answer tells that the call was of this API.
    pub fn is_of(&mut self, api: &'static Api) {
        self.effects.changes += 1;
        self.api = api;
    }

    /// Output that is no content, but tells of it: how many vectors there are. JSON text.
    pub fn summary(&mut self, json: String) {
        self.effects.changes += 1;
        self.output = Some(json);
    }

    /// Output that is no choice, as it was sent.
    pub fn output(&mut self, value: Value<'_>) {
        self.effects.changes += 1;
        self.output = self.room.keep(value);
    }

    /// What was collected of the choices is about to come whole. False where it does not, because it was cut: then what is
    /// there stays.
    pub fn restart(&mut self) -> bool {
        if self.reads_cut() {
            return false;
        }
        for choice in std::mem::take(&mut self.choices) {
            self.room.give_back(choice.len());
        }
        self.template.forget();
        self.effects.changes += 1;
        true
    }

    /// Nothing has been collected of any choice.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.choices.iter().all(Choice::is_empty)
    }

    /// The place of the choice of that index, begun where it is new; none where there are too many.
    fn choice(&mut self, index: u64) -> Option<usize> {
        let known = self.choices.iter().position(|choice| choice.index == index);
        if known.is_some() {
            return known;
        }
        if self.choices.len() >= CHOICES_MAX {
            self.room.cut = true;
            return None;
        }
        self.choices.push(Choice::new(index));
        Some(self.choices.len() - 1)
    }

    fn change(&mut self, choice: u64, act: impl FnOnce(&mut Choice, &mut Room) -> bool) {
        let Some(at) = self.choice(choice) else { return };
        if let Some(choice) = self.choices.get_mut(at) {
            self.effects.changes += u32::from(act(choice, &mut self.room));
        }
    }

    fn restart_at(&mut self, at: usize) {
        if let Some(choice) = self.choices.get_mut(at) {
            self.room.give_back(choice.len());
            let finish_reason = choice.finish_reason.take();
            *choice = Choice::new(choice.index);
            choice.finish_reason = finish_reason;
        }
        self.effects.changes += 1;
    }

    fn append(&mut self, choice: u64, slot: Slot, value: Value<'_>) {
        let Some(text) = value.text() else { return };
        // An empty text tells nothing but that there is text.
        if text.is_empty() && slot != Slot::Text {
            return;
        }
        let Some(at) = self.choice(choice) else { return };
        self.append_value(Target { choice: at, slot }, value, &text);
    }

    fn append_arguments(&mut self, target: Target, value: Value<'_>) {
        let text = arguments(value);
        if !text.is_empty() {
            self.append_value(target, value, &text);
        }
    }

    fn append_value(&mut self, target: Target, value: Value<'_>, text: &str) {
        self.append_to(target, text);
        self.effects.content |= !text.is_empty();
        self.effects.appended += 1;
        let raw = value.raw();
        self.effects.last = value.is_string().then_some((raw.as_ptr() as usize, raw.len(), target));
    }

    pub(super) fn append_to(&mut self, target: Target, text: &str) {
        if let Some(choice) = self.choices.get_mut(target.choice) {
            choice.append(target.slot, text, &mut self.room);
        }
    }
}
