//! Puts an answer together from its messages: one JSON body, or the pieces of a stream. Each family says what its
//! messages mean by calling what [`Collector`] offers; what dialects and streams have in common is here.
//!
//! Rules: the first id and model that are not empty count; pieces are appended to the choice and tool call of their index;
//! `[DONE]` may be missing. What is held is bounded by the room for output.

mod choice;
mod room;
mod template;

use std::borrow::Cow;

use super::answer::Answer;
use super::api::{Api, Operation};
use super::count::{Count, Counts};
use super::message::Message;
use super::{ProviderError, Usage};
use crate::budget::Lease;
use crate::json::{Document, Value, close_truncated};
pub use choice::CallKey;
use choice::{Choice, Slot, arguments};
use room::Room;
use template::{Target, Template};

/// Choices of one answer that are kept.
const CHOICES_MAX: usize = 128;
/// Longest id or model, bytes.
const NAME_MAX: usize = 256;
/// Longest finish reason, bytes.
const REASON_MAX: usize = 64;

/// See the module's documentation.
#[derive(Debug)]
pub struct Collector {
    api: &'static Api,
    /// The request's prompt, where an answer repeats it (vLLM).
    pub prompt: Option<String>,
    id: Option<String>,
    model: Option<String>,
    choices: Vec<Choice>,
    /// In place of choices: a summary, or an answer that has none.
    output: Option<String>,
    room: Room,
    template: Template,
    counts: Counts,
    cost: Option<String>,
    error: Option<ProviderError>,
    done: bool,
    endless: bool,
    unread: u32,
    effects: Effects,
    /// The message that is being read was cut.
    reads_cut: bool,
}

/// What one message did.
#[derive(Debug, Default)]
struct Effects {
    /// It brought content.
    content: bool,
    /// Changes, appended texts aside.
    changes: u32,
    appended: u32,
    /// The last text that was appended: its address and length in the message, and where it went.
    last: Option<(usize, usize, Target)>,
}

impl Collector {
    /// Collects an answer of `api`, of which `output_max` bytes are kept, in memory from `lease`.
    #[must_use]
    pub fn new(api: &'static Api, output_max: usize, lease: Lease) -> Self {
        Self {
            api,
            prompt: None,
            id: None,
            model: None,
            choices: Vec::new(),
            output: None,
            room: Room::new(output_max, lease),
            template: Template::default(),
            counts: Counts::default(),
            cost: None,
            error: None,
            done: false,
            endless: false,
            unread: 0,
            effects: Effects::default(),
            reads_cut: false,
        }
    }

    /// Takes one message of a stream: its event's name (empty = none) and data; true where it brings content (what the
    /// time to first token is measured at).
    pub fn event(&mut self, event: &[u8], data: &[u8]) -> bool {
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
            return false;
        }
        if let Some((target, text)) = self.template.text(event, data) {
            self.append_to(target, &text);
            return !text.is_empty();
        }
        self.effects = Effects::default();
        if event == b"error" {
            self.error = ProviderError::from_body(data).or(self.error.take());
            self.effects.changes += 1;
        }
        let lossy;
        let text = match std::str::from_utf8(data) {
            Ok(_) => data,
            Err(_) => {
                lossy = String::from_utf8_lossy(data);
                lossy.as_bytes()
            }
        };
        let Some(body) = Value::parse(text) else {
            self.unread = self.unread.saturating_add(u32::from(!data.is_empty()));
            return false;
        };
        self.message(&Message { event, body, whole: false, document: None });
        self.learn(event, data);
        self.effects.content
    }

    /// Takes the message that a stream ended in, which may be cut: what of it had arrived is read, but it tells neither the
    /// end nor the usage.
    pub fn last_event(&mut self, event: &[u8], data: &[u8]) {
        let data = data.trim_ascii();
        if Value::parse(data).is_some() || data == b"[DONE]" || !matches!(data.first(), Some(b'{' | b'[')) {
            self.event(event, data);
        } else {
            self.reads_cut = true;
            self.event(event, &close_truncated(data));
            self.reads_cut = false;
            self.endless = false;
        }
    }

    /// Reads the body of an answer that is no stream. Where texts are asked for, one that is no JSON is the text.
    pub fn document(&mut self, document: &Document) {
        let text = document.view();
        match Value::parse(&text) {
            Some(body) if body.is_object() || !self.api.operation.is_of_speech() => {
                self.message(&Message { event: b"", body, whole: true, document: Some(document) });
            }
            None if !self.api.operation.is_of_speech() => {}
            _ => self.set_text(0, &String::from_utf8_lossy(document.head())),
        }
    }

    /// Takes an exception frame of an AWS event stream.
    pub fn exception(&mut self, kind: &[u8], payload: &[u8]) {
        let error = ProviderError::from_body(payload).unwrap_or_default();
        let code = error.code.or_else(|| Some(String::from_utf8_lossy(kind).into_owned()));
        self.error = Some(ProviderError { code, ..error });
    }

    fn message(&mut self, message: &Message<'_>) {
        self.read_error(message.body);
        (self.api.read)(self, message);
    }

    /// An `error` member says so in every family.
    pub fn read_error(&mut self, body: Value<'_>) {
        let error = body.get("error");
        if error.is_nothing() {
            return;
        }
        let unworded = error.members().next().is_some();
        let found = ProviderError::from_value(error)
            .or_else(|| if unworded { ProviderError::from_body(body.raw().as_bytes()) } else { None });
        if let Some(found) = found {
            self.fail(found);
        }
    }

    /// Where all that an event did was to append one text, the next one like it is read by its template.
    fn learn(&mut self, event: &[u8], data: &[u8]) {
        let Effects { changes: 0, appended: 1, last: Some((address, len, target)), .. } = self.effects else { return };
        let Some(at) = address.checked_sub(data.as_ptr() as usize) else { return };
        let end = at.saturating_add(len);
        if let Some(text) = data.get(at..end).and_then(|bytes| std::str::from_utf8(bytes).ok()) {
            self.template.learn(event, data, text, target);
        }
    }

    /// The id of the answer: a text, or (AI21) a number.
    pub fn id(&mut self, value: Value<'_>) {
        let id = value.non_empty().or_else(|| value.amount().map(Cow::Borrowed));
        self.effects.changes += u32::from(set_once(&mut self.id, id));
    }

    /// The model that answers.
    pub fn model(&mut self, value: Value<'_>) {
        self.effects.changes += u32::from(set_once(&mut self.model, value.non_empty()));
    }

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

    /// Content came that is not kept: an image, for one.
    pub fn unkept(&mut self, choice: u64) {
        self.change(choice, |choice, _| {
            choice.begin_text();
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

    /// The whole text of a choice so far, in place of what was collected.
    pub fn set_text(&mut self, choice: u64, text: &str) {
        let Some(at) = self.choice(choice) else { return };
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
        let Some(call) = found.call(key, &mut self.room) else {
            self.effects.content = true;
            return;
        };
        let named = found.name_call(call, &id, &name, &mut self.room);
        self.effects.changes += u32::from(named);
        self.effects.content |= !name.is_empty();
        self.append_arguments(Target { choice: at, slot: Slot::Arguments(call) }, arguments);
    }

    /// The whole arguments of a tool call, of which pieces may have come before.
    pub fn tool_arguments(&mut self, choice: u64, key: CallKey<'_>, whole: Value<'_>) {
        let Some(at) = self.choice(choice) else { return };
        let Some(found) = self.choices.get_mut(at) else { return };
        let Some(call) = found.call(key, &mut self.room) else { return };
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
        if reason.is_empty() || self.reads_cut {
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

    /// Output that is no content, but tells of it: how many vectors there are. JSON text.
    pub fn summary(&mut self, json: String) {
        self.effects.changes += 1;
        self.output = Some(json);
    }

    /// Output that is no choice, as it was sent.
    pub fn output(&mut self, value: Value<'_>) {
        self.effects.changes += 1;
        let mut kept = String::new();
        self.room.append(&mut kept, value.raw());
        if kept.len() < value.raw().len() {
            kept = String::from_utf8_lossy(&close_truncated(kept.as_bytes())).into_owned();
        }
        self.output = Some(kept).filter(|kept| !kept.is_empty());
    }

    /// What was collected of the choices is about to come whole. False where it does not, because it was cut: then what is
    /// there stays.
    pub fn restart(&mut self) -> bool {
        if self.reads_cut {
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

    /// Usage, where the family's usage objects stand. `{}` and `null` state nothing, and take nothing back.
    pub fn usage(&mut self, usage: Value<'_>) {
        if !usage.is_object() || self.reads_cut {
            return;
        }
        let rules = self.api.usage;
        let mut counts = if rules.merges { self.counts.clone() } else { Counts::default() };
        if counts.read(usage, rules) {
            self.counts = counts;
            self.effects.changes += 1;
        }
        if let Some(cost) = rules.cost.iter().find_map(|path| usage.at(path).amount()) {
            self.cost = Some(crate::trace::truncate(cost, REASON_MAX).to_owned());
            self.effects.changes += 1;
        }
    }

    /// States one count.
    pub fn count(&mut self, count: Count, value: Option<u64>) {
        if let Some(value) = value {
            self.counts.set(count, value);
            self.effects.changes += 1;
        }
    }

    /// States a count, unless it is stated already: by a header, for one.
    pub fn count_if_missing(&mut self, count: Count, value: Option<u64>) {
        if self.counts.get(count).is_none() {
            self.count(count, value);
        }
    }

    /// The count so far.
    #[must_use]
    pub fn counted(&self, count: Count) -> Option<u64> {
        self.counts.get(count)
    }

    /// The answer reports an error.
    pub fn fail(&mut self, error: ProviderError) {
        self.error = Some(error);
        self.effects.changes += 1;
    }

    /// A message could not be read.
    pub fn missed(&mut self) {
        self.unread = self.unread.saturating_add(1);
    }

    /// The provider has said that the answer is whole.
    pub fn end(&mut self) {
        self.done |= !self.reads_cut;
        self.effects.changes += 1;
    }

    /// Nothing will tell the end of the answer, so that none can be missed.
    pub fn has_no_end(&mut self) {
        self.effects.changes += u32::from(!std::mem::replace(&mut self.endless, true));
    }

    /// Output was lost because the VM's budget was used up.
    #[must_use]
    pub fn memory_short(&self) -> bool {
        self.room.memory_short
    }

    /// Output was lost, to the call's limit or to the VM's budget.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.room.cut
    }

    /// The provider has said that the answer is whole.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The answer so far.
    #[must_use]
    pub fn finish(&self) -> Answer {
        let finished = !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finish_reason.is_some());
        let first = self.choices.iter().min_by_key(|choice| choice.index);
        Answer {
            id: self.id.clone(),
            model: self.model.clone(),
            output: self.written(),
            finish_reason: first.and_then(|choice| choice.finish_reason.clone()),
            usage: Usage::new(self.counts.clone(), self.api.usage),
            counts: self.counts.clone(),
            cost: self.cost.clone(),
            error: self.error.clone(),
            unfinished: !(self.done || self.endless || finished || self.error.is_some()),
            unread_messages: self.unread,
        }
    }

    /// The output of one choice, or an array of those of several; none where there is none.
    fn written(&self) -> Option<String> {
        if self.output.is_some() || self.room.is_closed() {
            return self.output.clone();
        }
        let mut choices: Vec<&Choice> = self.choices.iter().filter(|choice| !choice.is_empty()).collect();
        choices.sort_unstable_by_key(|choice| choice.index);
        let text_alone = self.api.operation == Operation::Completion || self.api.operation.is_of_speech();
        let json = |choice: &Choice| if text_alone { choice.text_json() } else { choice.message_json() };
        let mut outputs: Vec<String> = choices.into_iter().map(json).collect();
        if outputs.len() > 1 { Some(format!("[{}]", outputs.join(","))) } else { outputs.pop() }
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

    fn append_to(&mut self, target: Target, text: &str) {
        if let Some(choice) = self.choices.get_mut(target.choice) {
            choice.append(target.slot, text, &mut self.room);
        }
    }
}

fn set_once(slot: &mut Option<String>, text: Option<Cow<'_, str>>) -> bool {
    let new = if slot.is_none() { text } else { None };
    if let Some(text) = &new {
        *slot = Some(crate::trace::truncate(text, NAME_MAX).to_owned());
    }
    new.is_some()
}
