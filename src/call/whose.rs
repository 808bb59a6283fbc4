//! Whose a call is: which of the configured projects traces it, and what its gateway knows of the caller.

use super::Beginning;
use crate::config::{Activation, Asked, Settings};
use crate::context::{Surroundings, TrustCaller};
use crate::headers;
use crate::provider::{Skip, without_query};

/// The number of the project that the call belongs to.
///
/// # Errors
/// Its method asks for no inference, or its project has no keys.
pub(super) fn project(settings: &Settings, at: &Beginning<'_>) -> Result<usize, Skip> {
    if headers::find(at.headers, ":method") != Some(b"POST") {
        // A WebSocket (of OpenAI's Responses, for one), whether it will be refused or not; by HTTP/2 it has a `:protocol`.
        let is_upgrade = ["upgrade", ":protocol"].iter().any(|name| headers::find(at.headers, name).is_some());
        return Err(if is_upgrade { Skip::Upgrade } else { Skip::Method });
    }
    let Activation::Ready(projects) = &settings.activation else { return Ok(0) };
    let path = without_query(at.path);
    let call = Asked { path, headers: at.headers, all_headers: at.all_headers, route: at.routes };
    projects.pick(&call).ok_or(Skip::NoProject)
}

/// What the gateway is, as far as it matters for whom a call is believed to be of.
pub(super) fn surroundings(settings: &Settings, at: &Beginning<'_>) -> Surroundings {
    let is_kong = at.gateway.is_kong;
    let asks = settings.context.trust() == TrustCaller::Authenticated && !is_kong;
    // A truth value of Envoy: <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes>.
    let has_peer = asks && (at.properties.0)(&["connection", "mtls"]).as_deref() == Some(&[1]);
    Surroundings { is_kong, authenticates: settings.gateway_authenticates, has_peer }
}
