//! Feeds an exchange to the core as a gateway would: the same calls in the same order as `host::stream` makes them.

use std::rc::Rc;

use super::exchange::{Exchange, Gateway, Response};
use crate::call::{Beginning, Call, End, GatewayIds, Piece, Properties, Shared, Unread, find_route};
use crate::config::Settings;
use crate::counters::Counters;
use crate::headers::Header;
use crate::provider::Skip;

/// The moment at which a call begins whose file does not say when: 2026-01-01T00:00:00Z, in nanoseconds.
const SOME_MOMENT: u64 = 1_767_225_600_000_000_000;
/// Bytes of a piece, as Envoy hands them on.
const PIECE: usize = 16 * 1024;

/// A call that is traced.
#[derive(Debug)]
pub struct Traced {
    /// What was read of it: one JSON object (docs/design.md, "Explain").
    pub fields: String,
    /// The encoded span.
    pub span: Vec<u8>,
}

/// Replays `exchange` under `settings`. A time that the file does not state is [`SOME_MOMENT`] or 0 in the span: what
/// shows it must leave it out ([`super::sent`] does).
///
/// # Errors
/// Why the call is not traced.
pub fn replay(exchange: &Exchange, settings: &Rc<Settings>) -> Result<Traced, Skip> {
    let start = exchange.start().unwrap_or(SOME_MOMENT);
    let mut call = begin(exchange, settings, start)?;
    feed(&exchange.request.bytes(), |call| call.request_room(), &mut call, Call::request_piece);
    let answer = exchange.response.as_ref().filter(|answer| answer.status.is_some());
    if let Some(answer) = answer {
        let first_content = start.saturating_add(nanoseconds(exchange.first_content_ms));
        respond(&mut call, answer, first_content);
    }
    let now = start.saturating_add(nanoseconds(exchange.duration_ms.or(exchange.first_content_ms)));
    let details = exchange.response.as_ref().and_then(|answer| answer.code_details.as_deref());
    let details = details.filter(|_| call.wants_details());
    let (fields, span) = call.explain(&End { now, details, gateway: &[], ..End::default() })?;
    Ok(Traced { fields, span })
}

fn begin(exchange: &Exchange, settings: &Rc<Settings>, now: u64) -> Result<Call, Skip> {
    let (request, counters) = (&exchange.request, Rc::new(Counters::default()));
    let target = request.target();
    let route = find_route(target.as_bytes(), settings, &counters)?;
    let mut headers: Vec<Header<'_>> = vec![(b":method", request.method.as_bytes()), (b":path", target.as_bytes())];
    if request.headers.get("host").or(request.headers.get(":authority")).is_none() {
        headers.extend(request.host.as_deref().map(|host| (&b":authority"[..], host.as_bytes())));
    }
    headers.extend(request.wire_headers().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let is_kong = exchange.gateway == Some(Gateway::Kong);
    let (path, gateway) = (target.as_bytes(), GatewayIds { is_kong, ..GatewayIds::default() });
    let property = |steps: &[&str]| {
        let path: String = steps.iter().flat_map(|step| ["/", step]).collect();
        exchange.properties.get(&path).map(|value| value.as_bytes().to_vec())
    };
    let at = Beginning {
        path,
        sent_path: None,
        headers: &headers,
        now,
        context_id: 1,
        gateway,
        routes: None,
        all_headers: true,
        properties: Properties(&property),
    };
    Call::begin(settings, &counters, &Shared::new(settings.memory_budget, [0, 0]), route, &at)
}

fn respond(call: &mut Call, answer: &Response, first_content: u64) {
    let status = answer.status.unwrap_or_default().to_string();
    let mut headers: Vec<Header<'_>> = vec![(b":status", status.as_bytes())];
    headers.extend(answer.wire_headers().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    call.response_headers(&headers);
    let take = |call: &mut Call, piece: Piece<'_>| call.response_piece(piece, &|| first_content);
    feed(&answer.bytes(), |call| call.response_room(), call, take);
    if answer.complete {
        call.response_ended();
    }
}

/// Hands a body on in pieces, of each as much as is of use, as on Envoy.
fn feed(body: &[u8], room: impl Fn(&Call) -> usize, call: &mut Call, mut take: impl FnMut(&mut Call, Piece<'_>)) {
    for piece in body.chunks(PIECE) {
        let (wanted, rest) = piece.split_at(room(call).min(piece.len()));
        if !wanted.is_empty() {
            take(call, Piece::Bytes(wanted));
        }
        if !rest.is_empty() {
            take(call, Piece::Unread(rest.len(), Unread::BeyondScan));
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a checked number of milliseconds")]
fn nanoseconds(ms: Option<f64>) -> u64 {
    (ms.unwrap_or_default() * 1e6) as u64
}

/// A reason for people.
#[must_use]
pub fn reason(skip: Skip) -> &'static str {
    match skip {
        Skip::IgnoredPath => "the path is in `ignore_paths`",
        Skip::NotAi => "path, host, headers and body are not those of an LLM API that is known",
        Skip::Method => "the method asks for no inference: only POST does",
        Skip::Upgrade => "the connection changed to another protocol (status 101)",
        Skip::NoProject => "no entry of `projects` with keys takes the call",
    }
}

/// What to do where the call should be traced.
#[must_use]
pub fn remedy(skip: Skip) -> &'static str {
    match skip {
        Skip::IgnoredPath => "take the path out of `ignore_paths`",
        Skip::NotAi => "see \"What is traced\" in the README for the paths; `providers` adds others",
        Skip::Method => "none: such a call has no input to trace",
        Skip::Upgrade => "none: what passes then is not HTTP",
        Skip::NoProject => {
            "give the entry its keys; one that asks for a `route` cannot be tried here, since no file states it"
        }
    }
}
