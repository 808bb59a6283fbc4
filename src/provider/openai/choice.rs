//! One choice of a streamed answer, put together from its pieces, and written as the message it would have been.

use super::wire;
use crate::budget::Lease;
use crate::json::{Few, ObjectWriter, Text, parse, write_string};

/// Thinking parts in thinking parts that are followed.
const THINKING_DEPTH_MAX: u32 = 3;

/// Bytes that are taken from the budget at once.
const LEASE_STEP: usize = 4096;

/// Room for output: what the call's limit and the VM's budget still allow.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    left: usize,
    /// Taken from the budget and not used yet.
    spare: usize,
    lease: Lease,
    pub cut: bool,
    pub memory_short: bool,
}

impl Room {
    pub(super) fn new(max: usize, lease: Lease) -> Self {
        Self { max, left: max, spare: 0, lease, cut: false, memory_short: false }
    }

    /// Nothing is to be kept at all.
    pub(super) fn is_closed(&self) -> bool {
        self.max == 0
    }

    /// Appends what there is room for.
    fn append(&mut self, to: &mut String, text: &str) {
        let mut fitting = crate::trace::truncate(text, self.left);
        if fitting.len() > self.spare {
            let step = fitting.len().max(LEASE_STEP);
            if self.lease.grow(step) {
                self.spare += step;
            } else {
                self.memory_short = true;
                fitting = crate::trace::truncate(fitting, self.spare);
            }
        }
        self.cut |= fitting.len() < text.len();
        self.left -= fitting.len();
        self.spare -= fitting.len();
        to.push_str(fitting);
    }
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub index: u64,
    role: String,
    text: Option<String>,
    reasoning: String,
    refusal: String,
    audio_transcript: String,
    audio_id: String,
    calls: Vec<Call>,
    function_call: Option<Call>,
    pub finish_reason: Option<String>,
}

impl Choice {
    pub(super) fn new(index: u64) -> Self {
        Self { index, ..Self::default() }
    }

    /// Adds the text of a completion; true where it is not empty.
    pub(super) fn add_text(&mut self, text: &str, room: &mut Room) -> bool {
        room.append(self.text.get_or_insert_default(), text);
        !text.is_empty()
    }

    /// Adds a piece of a message; true where it holds content (text, reasoning, refusal, audio or a tool call).
    pub(super) fn add(&mut self, piece: &wire::Message<'_>, room: &mut Room) -> bool {
        if let Some(role) = piece.role.non_empty().filter(|_| self.role.is_empty()) {
            room.append(&mut self.role, role);
        }
        let mut content = piece.content.is_some_and(|raw| self.add_content(raw.get(), room, 0));
        // Servers that send both names send the same text twice.
        let reasoning = piece.reasoning_content.non_empty().or(piece.reasoning.non_empty());
        for (to, text) in [(&mut self.reasoning, reasoning), (&mut self.refusal, piece.refusal.non_empty())] {
            if let Some(text) = text {
                room.append(to, text);
                content = true;
            }
        }
        for call in &piece.tool_calls.items {
            content |= self.add_tool_call(call, room);
        }
        room.cut |= piece.tool_calls.more;
        if let Some(function) = wire::part(piece.function_call) {
            content |= add_function(self.function_call.get_or_insert_default(), &function, room);
        }
        content | wire::part(piece.audio).is_some_and(|audio| self.add_audio(&audio, room))
    }

    fn add_content(&mut self, raw: &str, room: &mut Room, depth: u32) -> bool {
        if raw.starts_with('"') {
            // Half a surrogate pair is valid in JSON and is no text: it is shown as what it is, a broken character.
            let text = parse::<Text<'_>>(raw.as_bytes()).and_then(|text| text.0).unwrap_or("\u{FFFD}".into());
            return self.add_text(&text, room);
        }
        let parts: Few<wire::Part<'_>, { wire::PARTS_MAX }> = parse(raw.as_bytes()).unwrap_or_default();
        room.cut |= parts.more;
        let mut content = false;
        for part in &parts.items {
            content |= match part.kind.get() {
                Some("thinking") => part.thinking.is_some_and(|raw| self.add_thinking(raw.get(), room, depth)),
                _ => part.text.get().is_some_and(|text| self.add_text(text, room)),
            };
        }
        content
    }

    fn add_thinking(&mut self, raw: &str, room: &mut Room, depth: u32) -> bool {
        if depth > THINKING_DEPTH_MAX {
            return false;
        }
        let mut thinking = Self::default();
        let content = thinking.add_content(raw, room, depth + 1);
        self.reasoning.push_str(&thinking.text.unwrap_or_default());
        self.reasoning.push_str(&thinking.reasoning);
        content
    }

    fn add_tool_call(&mut self, piece: &wire::ToolCall<'_>, room: &mut Room) -> bool {
        let id = piece.id.non_empty();
        let known = self.calls.iter().position(|call| match piece.index.0 {
            Some(index) => call.index == Some(index),
            // Old Mistral streams have no index: the id tells calls apart; a piece without one goes on with the last.
            None => id.is_some_and(|id| id == call.id),
        });
        let continues = known
            .or_else(|| (piece.index.0.is_none() && id.is_none()).then(|| self.calls.len().checked_sub(1)).flatten());
        let at = match continues {
            Some(at) => at,
            None if self.calls.len() >= wire::TOOL_CALLS_MAX => {
                room.cut = true;
                return true;
            }
            None => {
                self.calls.push(Call { index: piece.index.0, ..Call::default() });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(at) else { return false };
        if let Some(id) = id.filter(|_| call.id.is_empty()) {
            room.append(&mut call.id, id);
        }
        wire::part(piece.function).is_some_and(|function| add_function(call, &function, room))
    }

    fn add_audio(&mut self, audio: &wire::Audio<'_>, room: &mut Room) -> bool {
        if let Some(id) = audio.id.non_empty().filter(|_| self.audio_id.is_empty()) {
            room.append(&mut self.audio_id, id);
        }
        if let Some(transcript) = audio.transcript.non_empty() {
            room.append(&mut self.audio_transcript, transcript);
        }
        audio.transcript.non_empty().is_some() || audio.data.non_empty().is_some()
    }

    /// Nothing has arrived of it.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_none()
            && self.reasoning.is_empty()
            && self.refusal.is_empty()
            && self.calls.is_empty()
            && self.function_call.is_none()
            && self.audio_transcript.is_empty()
    }

    /// The text alone, as a completion has it.
    pub(super) fn text_json(&self) -> String {
        let mut out = String::new();
        write_string(&mut out, self.text.as_deref().unwrap_or_default());
        out
    }

    /// The message in OpenAI's shape.
    pub(super) fn message_json(&self) -> String {
        let mut message = ObjectWriter::default();
        message.string("role", if self.role.is_empty() { "assistant" } else { &self.role });
        match &self.text {
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
        if let Some(call) = &self.function_call {
            message.raw("function_call", &function_json(call));
        }
        if !self.audio_transcript.is_empty() {
            let mut audio = ObjectWriter::default();
            audio.string("id", &self.audio_id).string("transcript", &self.audio_transcript);
            message.raw("audio", &audio.finish());
        }
        message.finish()
    }

    fn has_calls(&self) -> bool {
        !self.calls.is_empty() || self.function_call.is_some()
    }
}

fn add_function(call: &mut Call, piece: &wire::Function<'_>, room: &mut Room) -> bool {
    if let Some(name) = piece.name.non_empty().filter(|_| call.name.is_empty()) {
        room.append(&mut call.name, name);
    }
    let raw = piece.arguments.map(|raw| raw.get()).unwrap_or_default();
    let text = parse::<Text<'_>>(raw.as_bytes()).unwrap_or_default();
    match text.get() {
        Some(text) => room.append(&mut call.arguments, text),
        None if raw.starts_with('{') => room.append(&mut call.arguments, raw),
        None => {}
    }
    piece.name.non_empty().is_some() || text.non_empty().is_some() || raw.starts_with('{')
}

fn function_json(call: &Call) -> String {
    let mut function = ObjectWriter::default();
    function.string("name", &call.name).string("arguments", &call.arguments);
    function.finish()
}

fn tool_call_json(call: &Call) -> String {
    let mut object = ObjectWriter::default();
    object.string("id", &call.id).string("type", "function").raw("function", &function_json(call));
    object.finish()
}
