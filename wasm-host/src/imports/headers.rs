//! Header maps.

use wasmi::Error;

use crate::guest::{Arguments, Guest, status};
use crate::headers::{Headers, find, serialise};
use crate::log::Level;
use crate::phase::Phase;
use crate::state::{State, Stream};

const REQUEST: u32 = 0;
const RESPONSE: u32 = 2;
const CALL_RESPONSE: u32 = 6;
/// WasmX: pairs of a map that are handed out.
const PAIRS_MAX: usize = 100;

/// The headers of a map, or the status where there is no such map.
fn map(state: &State, kind: u32) -> Result<Headers, u32> {
    let on_wasmx = state.wasmx().is_some();
    match kind {
        REQUEST => Ok(request_headers(state.stream().ok_or(status::BAD_ARGUMENT)?, on_wasmx)),
        RESPONSE => {
            let stream = state.stream().ok_or(status::BAD_ARGUMENT)?;
            match response_headers(stream, on_wasmx) {
                Some(headers) => Ok(headers),
                None if on_wasmx || state.place.phase == Phase::Log => Ok(Vec::new()),
                None => Err(status::BAD_ARGUMENT),
            }
        }
        CALL_RESPONSE => {
            let reading = state.reading.as_ref().ok_or(status::BAD_ARGUMENT)?;
            let mut headers = reading.headers.clone();
            if let Some(outcome) = reading.dispatch_status {
                headers.push((":dispatch_status".to_owned(), outcome.as_bytes().to_vec()));
            }
            Ok(headers)
        }
        _ => Err(status::BAD_ARGUMENT),
    }
}

/// nginx's `$uri`, and the query: percent-encodings are decoded and slashes merged (hosts.md, section 13.7).
fn normalised(sent: &str) -> String {
    let (path, query) = sent.split_once('?').map_or((sent, None), |(path, query)| (path, Some(query)));
    let mut decoded = Vec::new();
    let mut bytes = path.as_bytes();
    while let [first, rest @ ..] = bytes {
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).filter(|_| *first == b'%');
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes = if code.is_some() { &rest[2..] } else { rest };
        let byte = code.unwrap_or(*first);
        if byte != b'/' || decoded.last() != Some(&b'/') {
            decoded.push(byte);
        }
    }
    let path = String::from_utf8_lossy(&decoded).into_owned();
    query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"))
}

/// WasmX keeps the case of names; Envoy has them in lower case, and adds its own.
fn request_headers(stream: &Stream, on_wasmx: bool) -> Headers {
    let request = &stream.request;
    let path = if on_wasmx { normalised(&request.path) } else { request.path.clone() };
    let pseudo = [
        (":path", path.as_str()),
        (":method", &request.method),
        (":scheme", "http"),
        (":authority", &request.authority),
    ];
    let mut headers: Headers = pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
    if on_wasmx {
        headers.push(("Host".to_owned(), request.authority.clone().into_bytes()));
        headers.extend(request.headers.iter().cloned());
        return headers;
    }
    headers.extend(lower(&request.headers));
    headers.push(("x-forwarded-proto".to_owned(), b"http".to_vec()));
    if find(&headers, "x-request-id").is_none() {
        let id = format!("00000000-0000-4000-8000-{:012x}", stream.owner.context);
        headers.push(("x-request-id".to_owned(), id.into_bytes()));
    }
    headers
}

fn response_headers(stream: &Stream, on_wasmx: bool) -> Option<Headers> {
    let response = stream.response.as_ref()?;
    let mut headers = vec![(":status".to_owned(), response.status.to_string().into_bytes())];
    if on_wasmx {
        headers.extend(response.framed_headers());
    } else {
        headers.extend(lower(&response.framed_headers()));
    }
    Some(headers)
}

fn lower(headers: &Headers) -> impl Iterator<Item = (String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
}

/// `proxy_get_header_map_pairs(type, &data, &len)`.
pub(super) fn pairs(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let found = map(&guest.state(), arguments.u32(0));
    let mut headers = match found {
        Ok(headers) => headers,
        Err(status) => return Ok(status),
    };
    let on_wasmx = guest.state().wasmx().is_some();
    if on_wasmx && headers.len() > PAIRS_MAX {
        headers.truncate(PAIRS_MAX);
        guest.state_mut().host_log(Level::Warn, format!("marshalled map truncated to {PAIRS_MAX} elements"));
    }
    guest.give(&serialise(&headers), arguments.u32(1), arguments.u32(2))
}

/// `proxy_get_header_map_size(type, &size)`.
pub(super) fn size(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let found = map(&guest.state(), arguments.u32(0));
    match found {
        Ok(headers) => {
            guest.write_u32(arguments.u32(1), serialise(&headers).len() as u32)?;
            Ok(status::OK)
        }
        Err(status) => Ok(status),
    }
}

/// `proxy_get_header_map_value(type, name, name_len, &data, &len)`.
pub(super) fn value(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let name = guest.read_text(arguments.u32(1), arguments.u32(2))?;
    let found = map(&guest.state(), arguments.u32(0));
    match found.map(|headers| find(&headers, &name).map(<[u8]>::to_vec)) {
        Ok(Some(value)) => guest.give(&value, arguments.u32(3), arguments.u32(4)),
        Ok(None) => Ok(status::NOT_FOUND),
        Err(status) => Ok(status),
    }
}

/// Any change of a header: a tap has no business here, so this is harm and is not carried out.
pub(super) fn change(guest: &mut Guest<'_>, arguments: &Arguments<'_>) -> Result<u32, Error> {
    let kind = arguments.u32(0);
    let name = guest.read_text(arguments.u32(1), arguments.u32(2))?;
    let mut state = guest.state_mut();
    match state.stream_mut().filter(|_| kind <= RESPONSE + 1) {
        Some(stream) => {
            stream.harm.push(format!("the filter changed {name} of map {kind}"));
            Ok(status::OK)
        }
        None => Ok(status::BAD_ARGUMENT),
    }
}
