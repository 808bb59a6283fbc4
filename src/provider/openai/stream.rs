//! A streamed chat or completion: chunks in, one answer out.
//!
//! Rules that dialects need: the first non-empty id and model count; usage is the last one stated and is never summed
//! (some servers repeat it in every chunk); choices and tool calls are told apart by index; `[DONE]` may be missing.

use super::choice::{Choice, Room};
use super::template::Template;
use super::usage::read_usage;
use super::wire::{CHOICES_MAX, Chunk, Groq, part};
use crate::budget::Lease;
use crate::decode::SseEvent;
use crate::json::{Text, is_null, object_members, parse};
use crate::provider::{Answer, Operation, ProviderError, one_or_several};

/// Longest usage object that is kept, in bytes; real ones have some 500.
const USAGE_MAX: usize = 8 * 1024;

/// Collects a stream. What it holds is bounded by the room for output it was given.
#[derive(Debug)]
pub struct ChatStream {
    operation: Operation,
    id: Option<String>,
    model: Option<String>,
    choices: Vec<Choice>,
    room: Room,
    template: Template,
    usage: Vec<u8>,
    groq_usage: Vec<u8>,
    error: Option<ProviderError>,
    done: bool,
    /// A chunk had `choices` with one in it.
    has_choices: bool,
    /// A chunk had Writer's `value`.
    has_value: bool,
    unread: u32,
}

impl ChatStream {
    /// A stream of that operation, of which `output_max` bytes of output are kept, in memory from `lease`.
    #[must_use]
    pub fn new(operation: Operation, output_max: usize, lease: Lease) -> Self {
        Self {
            operation,
            id: None,
            model: None,
            choices: Vec::new(),
            room: Room::new(output_max, lease),
            template: Template::default(),
            usage: Vec::new(),
            groq_usage: Vec::new(),
            error: None,
            done: false,
            has_choices: false,
            has_value: false,
            unread: 0,
        }
    }

    /// Takes one event; true where it brings content (what the time to first token is measured at).
    pub fn event(&mut self, event: &SseEvent<'_>) -> bool {
        let data = event.data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
            return false;
        }
        if event.name.is_empty()
            && let Some(text) = self.template.text(data)
        {
            let choice = choice(&mut self.choices, self.template.index);
            return choice.is_some_and(|choice| choice.add_text(&text, &mut self.room));
        }
        let chunk = parse::<Chunk<'_>>(data).unwrap_or_else(|| {
            self.unread = self.unread.saturating_add(u32::from(!data.is_empty()));
            facts_alone(data)
        });
        let stated = chunk.error.and_then(|error| {
            let unworded = !object_members(error.get().as_bytes()).is_empty();
            ProviderError::from_value(error.get().as_bytes())
                .or_else(|| unworded.then(|| ProviderError::from_body(data)).flatten())
        });
        let by_name = || (event.name == b"error").then(|| ProviderError::from_body(data)).flatten();
        if let Some(error) = stated.or_else(by_name) {
            self.error = Some(error);
        }
        self.take_facts(&chunk);
        let content = self.take_choices(&chunk);
        self.template.learn(data, &chunk);
        content
    }

    fn take_facts(&mut self, chunk: &Chunk<'_>) {
        for (slot, text) in [(&mut self.id, &chunk.id), (&mut self.model, &chunk.model)] {
            if slot.is_none() {
                *slot = text.non_empty().map(|text| crate::trace::truncate(text, 256).to_owned());
            }
        }
        let groq = part::<Groq<'_>>(chunk.x_groq).and_then(|groq| groq.usage);
        for (slot, usage) in [(&mut self.usage, chunk.usage), (&mut self.groq_usage, groq)] {
            let usage = usage.map(|raw| raw.get().as_bytes()).filter(|raw| !is_null(raw) && raw.len() <= USAGE_MAX);
            // `{}` states nothing, and does not take back what was stated.
            if let Some(usage) = usage.filter(|raw| read_usage(raw).is_some()) {
                slot.clear();
                slot.extend_from_slice(usage);
            }
        }
    }

    fn take_choices(&mut self, chunk: &Chunk<'_>) -> bool {
        let mut content = false;
        if let Some(text) = chunk.value.non_empty() {
            self.has_value = true;
            content |= choice(&mut self.choices, 0).is_some_and(|choice| choice.add_text(text, &mut self.room));
        }
        self.room.cut |= chunk.choices.more;
        for piece in &chunk.choices.items {
            self.has_choices = true;
            let Some(choice) = choice(&mut self.choices, piece.index.0.unwrap_or(0)) else {
                self.room.cut = true;
                continue;
            };
            if let Some(delta) = &piece.delta {
                content |= choice.add(delta, &mut self.room);
            }
            // Together sends the same text twice, as `text` and in `delta`.
            let in_delta = piece.delta.as_ref().is_some_and(|delta| delta.content.is_some());
            if let Some(text) = piece.text.get().filter(|_| !in_delta) {
                content |= choice.add_text(text, &mut self.room);
            }
            if let Some(reason) = piece.finish_reason.non_empty() {
                choice.finish_reason = Some(crate::trace::truncate(reason, 64).to_owned());
            }
        }
        content
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

    /// `[DONE]` has arrived.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The answer so far.
    #[must_use]
    pub fn finish(&self) -> Answer {
        let usage = read_usage(&self.usage).or_else(|| read_usage(&self.groq_usage));
        let finished = self.has_choices && self.choices.iter().all(|choice| choice.finish_reason.is_some());
        // Writer's stream has no choices and no end of its own: there is none to miss.
        let ended = self.done || finished || self.has_value || self.error.is_some();
        Answer {
            id: self.id.clone(),
            model: self.model.clone(),
            output: self.output(),
            finish_reason: self.choices.iter().min_by_key(|choice| choice.index).and_then(|c| c.finish_reason.clone()),
            usage,
            error: self.error.clone(),
            unfinished: !ended,
            unread_messages: self.unread,
        }
    }

    fn output(&self) -> Option<String> {
        if self.room.is_closed() {
            return None;
        }
        let mut choices: Vec<&Choice> = self.choices.iter().filter(|choice| !choice.is_empty()).collect();
        choices.sort_by_key(|choice| choice.index);
        let json = |choice: &Choice| match self.operation {
            Operation::Chat => choice.message_json(),
            _ => choice.text_json(),
        };
        one_or_several(choices.into_iter().map(json).collect())
    }
}

/// What can be read of a chunk whose choices cannot: one odd field must not cost usage, model or error.
fn facts_alone(data: &[u8]) -> Chunk<'_> {
    let mut chunk = Chunk::default();
    for (key, value) in object_members(data) {
        let text = || parse::<Text<'_>>(value.get().as_bytes()).unwrap_or_default();
        match key.as_ref() {
            "id" => chunk.id = text(),
            "model" => chunk.model = text(),
            "usage" => chunk.usage = Some(value),
            "x_groq" => chunk.x_groq = Some(value),
            "error" => chunk.error = Some(value),
            _ => {}
        }
    }
    chunk
}

/// The choice of that index, begun where it is new; none where there are too many.
fn choice(choices: &mut Vec<Choice>, index: u64) -> Option<&mut Choice> {
    let at = match choices.iter().position(|choice| choice.index == index) {
        Some(at) => at,
        None if choices.len() >= CHOICES_MAX => return None,
        None => {
            choices.push(Choice::new(index));
            choices.len() - 1
        }
    };
    choices.get_mut(at)
}
