//! One choice of an answer, put together from its pieces, and written as the message it would have been.

use std::borrow::Cow;

use super::room::Room;
use crate::json::{Object, ObjectWriter, Value, write_string};

/// Media of one choice that are told of.
const MEDIA_MAX: usize = 64;
/// Tool calls of one choice that are kept.
const TOOL_CALLS_MAX: usize = 128;

/// What tells a tool call from the others of its choice.
#[derive(Debug, Clone, Copy)]
pub enum CallKey<'a> {
    /// Its index, or that of its block or item.
    Index(u64),
    /// Its id.
    Id(&'a str),
    /// Nothing: a piece of the one before.
    Last,
    /// Nothing: each piece is a call.
    New,
}

#[derive(Debug, Default)]
struct ToolCall {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// A text of a choice that pieces are appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Text,
    Reasoning,
    Refusal,
    Transcript,
    /// Arguments of the tool call of this number.
    Arguments(usize),
    /// Arguments of the (old) function call.
    FunctionArguments,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub index: u64,
    role: String,
    text: Option<String>,
    reasoning: String,
    refusal: String,
    transcript: String,
    audio_id: String,
    /// What is told of media.
    media: Vec<String>,
    calls: Vec<ToolCall>,
    function: Option<ToolCall>,
    /// The message as it was sent, in place of all that.
    message: Option<String>,
    pub finish_reason: Option<String>,
}

impl Choice {
    pub(super) fn new(index: u64) -> Self {
        Self { index, ..Self::default() }
    }

    /// Appends to one of the texts.
    pub(super) fn append(&mut self, slot: Slot, text: &str, room: &mut Room) {
        let to = match slot {
            Slot::Text => self.text.get_or_insert_default(),
            Slot::Reasoning => &mut self.reasoning,
            Slot::Refusal => &mut self.refusal,
            Slot::Transcript => &mut self.transcript,
            Slot::Arguments(number) => match self.calls.get_mut(number) {
                Some(call) => &mut call.arguments,
                None => return,
            },
            Slot::FunctionArguments => &mut self.function.get_or_insert_default().arguments,
        };
        room.append(to, text);
    }

    /// Bytes of the text so far.
    pub(super) fn text_len(&self) -> usize {
        self.text.as_ref().map_or(0, String::len)
    }

    /// Tells of media that came, and how.
    pub(super) fn add_media(&mut self, told: &str, room: &mut Room) {
        if self.media.len() >= MEDIA_MAX {
            room.cut = true;
            return;
        }
        let mut kept = String::new();
        room.append(&mut kept, told);
        self.media.push(kept);
    }

    /// Separates what was reasoned so far from what follows.
    pub(super) fn separate_reasoning(&mut self, room: &mut Room) {
        if !self.reasoning.is_empty() {
            room.append(&mut self.reasoning, "\n\n");
        }
    }

    /// One of the texts holds this one.
    pub(super) fn holds(&self, text: &str) -> bool {
        [self.text.as_deref().unwrap_or_default(), &self.reasoning, &self.refusal].iter().any(|own| own.contains(text))
    }

    /// Sets what is not set yet; true where it was not.
    pub(super) fn set_role(&mut self, role: &str, room: &mut Room) -> bool {
        set(&mut self.role, role, room)
    }

    pub(super) fn set_audio_id(&mut self, id: &str, room: &mut Room) -> bool {
        set(&mut self.audio_id, id, room)
    }

    /// The number of the tool call with that key, begun where it is new; none where there are too many. Of an index, a piece
    /// that brings another id and a name begins another call (Gemini's OpenAI endpoint counts none of them); one that brings
    /// another id alone goes on with the last: some servers make an id for each piece.
    pub(super) fn call(&mut self, key: CallKey<'_>, id: &str, name: &str, room: &mut Room) -> Option<usize> {
        let known = match key {
            CallKey::Index(index) => {
                let has_index = |call: &ToolCall| call.index == Some(index);
                let last = self.calls.iter().rposition(has_index);
                let goes_on = |call: &ToolCall| id.is_empty() || name.is_empty() || call.id.is_empty();
                let same = self.calls.iter().position(|call| has_index(call) && !id.is_empty() && call.id == id);
                same.or(last.filter(|at| self.calls.get(*at).is_some_and(goes_on)))
            }
            CallKey::Id(id) => self.calls.iter().position(|call| call.id == id),
            CallKey::Last => self.calls.len().checked_sub(1),
            CallKey::New => None,
        };
        if known.is_some() {
            return known;
        }
        if self.calls.len() >= TOOL_CALLS_MAX {
            room.cut = true;
            return None;
        }
        let index = if let CallKey::Index(index) = key { Some(index) } else { None };
        self.calls.push(ToolCall { index, ..ToolCall::default() });
        Some(self.calls.len() - 1)
    }

    /// How many tool calls there are.
    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Id and name of a tool call, each where it is not known yet; true where one was not.
    pub(super) fn name_call(&mut self, number: usize, id: &str, name: &str, room: &mut Room) -> bool {
        let Some(call) = self.calls.get_mut(number) else { return false };
        set(&mut call.id, id, room) | set(&mut call.name, name, room)
    }

    pub(super) fn name_function(&mut self, name: &str, room: &mut Room) -> bool {
        set(&mut self.function.get_or_insert_default().name, name, room)
    }

    /// Drops the arguments of a tool call, which are about to come whole.
    pub(super) fn clear_arguments(&mut self, number: usize, room: &mut Room) {
        if let Some(call) = self.calls.get_mut(number) {
            room.give_back(std::mem::take(&mut call.arguments).len());
        }
    }

    /// Gives the tool call of that index an empty object where it got no arguments; true where it did not.
    pub(super) fn end_call(&mut self, index: u64, room: &mut Room) -> bool {
        let mut calls = self.calls.iter_mut().filter(|call| call.index == Some(index) && call.arguments.is_empty());
        let Some(call) = calls.next() else { return false };
        room.append(&mut call.arguments, "{}");
        true
    }

    /// Bytes of the arguments of a tool call so far.
    pub(super) fn arguments_len(&self, number: usize) -> usize {
        self.calls.get(number).map_or(0, |call| call.arguments.len())
    }

    /// Takes the message as it was sent; what there is no room for is cut off, to JSON again.
    pub(super) fn set_message(&mut self, message: Value<'_>, room: &mut Room) {
        self.message = room.keep(message);
    }

    /// Bytes that are kept.
    pub(super) fn len(&self) -> usize {
        let calls = self.calls.iter().chain(&self.function);
        let calls: usize = calls.map(|call| call.id.len() + call.name.len() + call.arguments.len()).sum();
        let texts = [&self.role, &self.reasoning, &self.refusal, &self.transcript, &self.audio_id];
        let texts: usize = texts.iter().map(|text| text.len()).sum();
        let media: usize = self.media.iter().map(String::len).sum();
        texts + media + calls + self.text_len() + self.message.as_ref().map_or(0, String::len)
    }

    /// Nothing has arrived of it.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_none() && self.message.is_none() && self.function.is_none() && self.len() == self.role.len()
    }

    /// The text alone, as a completion has it; a message where it has reasoning, too, or was sent as one.
    pub(super) fn text_json(&self) -> String {
        if self.message.is_some() || !self.reasoning.is_empty() {
            return self.message_json();
        }
        let mut out = String::new();
        write_string(&mut out, self.text.as_deref().unwrap_or_default());
        out
    }

    /// The message in OpenAI's shape.
    pub(super) fn message_json(&self) -> String {
        if let Some(message) = &self.message {
            return message.clone();
        }
        let mut message = ObjectWriter::default();
        message.string("role", if self.role.is_empty() { "assistant" } else { &self.role });
        match &self.text {
            _ if !self.media.is_empty() => message.raw("content", &self.parts_json()),
            Some(text) if !(text.is_empty() && self.has_calls()) => message.string("content", text),
            _ => message.raw("content", "null"),
        };
        for (key, text) in [("reasoning_content", &self.reasoning), ("refusal", &self.refusal)] {
            if !text.is_empty() {
                message.string(key, text);
            }
        }
        if !self.calls.is_empty() {
            let calls: Vec<String> = self.calls.iter().map(tool_call_json).collect();
            message.raw("tool_calls", &format!("[{}]", calls.join(",")));
        }
        if let Some(call) = &self.function {
            message.raw("function_call", &function_json(call));
        }
        if !self.transcript.is_empty() {
            let mut audio = ObjectWriter::default();
            audio.string("id", &self.audio_id).string("transcript", &self.transcript);
            message.raw("audio", &audio.finish());
        }
        message.finish()
    }

    /// Content that is more than text: the text, and a text part for each piece of media, which says so.
    fn parts_json(&self) -> String {
        let text = self.text.as_deref().filter(|text| !text.is_empty()).map(|text| (text, false));
        let mut parts = String::from("[");
        for (text, is_media) in text.into_iter().chain(self.media.iter().map(|told| (told.as_str(), true))) {
            if parts.len() > 1 {
                parts.push(',');
            }
            let mut part = Object::open(&mut parts);
            part.text("type", "text");
            part.text("text", text);
            if is_media {
                part.raw("placeholder", "true");
            }
            part.close();
        }
        parts.push(']');
        parts
    }

    fn has_calls(&self) -> bool {
        !self.calls.is_empty() || self.function.is_some()
    }
}

fn set(slot: &mut String, text: &str, room: &mut Room) -> bool {
    let new = slot.is_empty() && !text.is_empty();
    if new {
        room.append(slot, text);
    }
    new
}

fn function_json(call: &ToolCall) -> String {
    let mut function = ObjectWriter::default();
    function.string("name", &call.name).string("arguments", &call.arguments);
    function.finish()
}

fn tool_call_json(call: &ToolCall) -> String {
    let mut object = ObjectWriter::default();
    object.string("id", &call.id).string("type", "function").raw("function", &function_json(call));
    object.finish()
}

/// Arguments as text: of a string what it holds, of an object the object as it was sent.
pub(super) fn arguments(value: Value<'_>) -> Cow<'_, str> {
    match value.text() {
        Some(text) => text,
        None if value.is_object() || value.is_array() => Cow::Borrowed(value.raw()),
        None => Cow::Borrowed(""),
    }
}
