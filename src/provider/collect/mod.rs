//! Puts an answer together from its messages: one JSON body, or the pieces of a stream. Each family says what its
//! messages mean by calling what [`Collector`] offers; what dialects and streams have in common is here.
//!
//! Rules: the first id and model that are not empty count; pieces are appended to the choice and tool call of their index;
//! `[DONE]` may be missing. What is held is bounded by the room for output.

mod choice;
mod content;
mod facts;
mod room;
mod template;

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use super::answer::Answer;
use super::api::{Api, Operation};
use super::count::Counts;
use super::custom::Custom;
use super::message::Message;
use super::{Element, ProviderError, Usage};
use crate::budget::Lease;
use crate::json::{Document, Fields, Value, close_truncated, trim};
pub use choice::CallKey;
use choice::Choice;
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
    /// What the request asked dimensions of vectors to be written as.
    pub element: Element,
    /// The provider, where a configuration describes it.
    pub custom: Option<Rc<Custom>>,
    id: Option<String>,
    model: Option<String>,
    choices: Vec<Choice>,
    /// In place of choices: a summary, or an answer that has none.
    output: Option<String>,
    room: Room,
    template: Template,
    counts: Counts,
    cost: Option<String>,
    billed_at: Vec<(&'static str, String)>,
    iterations: Option<String>,
    error: Option<ProviderError>,
    done: bool,
    endless: bool,
    unread: u32,
    effects: Effects,
    /// Of a message that was cut, and then closed: the addresses at which it stands as it was sent.
    cut: Option<Range<usize>>,
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
            element: Element::default(),
            custom: None,
            id: None,
            model: None,
            choices: Vec::new(),
            output: None,
            room: Room::new(output_max, lease),
            template: Template::default(),
            counts: Counts::default(),
            cost: None,
            billed_at: Vec::new(),
            iterations: None,
            error: None,
            done: false,
            endless: false,
            unread: 0,
            effects: Effects::default(),
            cut: None,
        }
    }

    /// Takes one message of a stream: its event's name (empty = none) and data; true where it brings content (what the
    /// time to first token is measured at).
    pub fn event(&mut self, event: &[u8], data: &[u8]) -> bool {
        let data = trim(data);
        if data == b"[DONE]" {
            self.done = true;
            return false;
        }
        if self.cut.is_none()
            && let Some((target, text)) = self.template.text(event, data)
        {
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
        self.message(&Message { event, body: &Fields::of(body), whole: false, document: None });
        self.learn(event, data);
        self.effects.content
    }

    /// Takes the message that a stream ended in, which may be cut: what of it had arrived is read, but it tells neither the
    /// end nor the usage.
    pub fn last_event(&mut self, event: &[u8], data: &[u8]) {
        let data = trim(data);
        if Value::parse(data).is_some() || data == b"[DONE]" || !matches!(data.first(), Some(b'{' | b'[')) {
            self.event(event, data);
        } else {
            let closed = close_truncated(data);
            let as_sent = closed.iter().zip(data).take_while(|(one, other)| one == other).count();
            let start = closed.as_ptr() as usize;
            self.cut = Some(start..start.saturating_add(as_sent));
            self.event(event, &closed);
            self.cut = None;
            self.endless = false;
        }
    }

    /// Reads the body of an answer that is no stream. Where texts are asked for, one that is no JSON is the text.
    pub fn document(&mut self, document: &Document) {
        let text = document.view();
        // A broken character costs itself.
        let text = match std::str::from_utf8(&text) {
            Ok(_) => text,
            Err(_) => Cow::Owned(String::from_utf8_lossy(&text).into_owned().into_bytes()),
        };
        match Value::parse(&text) {
            Some(body) if body.is_object() || !self.api.operation.is_of_speech() => {
                let body = &Fields::of(body);
                self.message(&Message { event: b"", body, whole: true, document: Some(document) });
            }
            None if !self.api.operation.is_of_speech() => {}
            _ => self.set_text(0, &String::from_utf8_lossy(document.head())),
        }
    }

    /// The message that is being read was cut.
    #[must_use]
    pub fn reads_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// The end of `value` is not as it was sent: it was cut off.
    #[must_use]
    pub fn is_cut_off(&self, value: Value<'_>) -> bool {
        let start = value.raw().as_ptr() as usize;
        let end = start.saturating_add(value.raw().len());
        self.cut.as_ref().is_some_and(|as_sent| start < as_sent.start || end > as_sent.end)
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
    pub fn read_error(&mut self, body: &Fields<'_>) {
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

    /// The API that the call is of.
    #[must_use]
    pub fn api(&self) -> &'static Api {
        self.api
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
            usage: Usage::new(
                self.counts.clone(),
                self.custom.as_ref().map_or(self.api.usage, |custom| &custom.semantics),
            ),
            counts: self.counts.clone(),
            cost: self.cost.clone(),
            billed_at: self.billed_at.clone(),
            iterations: self.iterations.clone(),
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
}
