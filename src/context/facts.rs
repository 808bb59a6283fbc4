//! What the gateway itself has found out of the caller: facts, below a prefix that no caller can write to.

use super::Surroundings;
use super::names::Known;
use super::resolve::Resolver;
use super::value::identity;

/// Beginning of the names of facts that the gateway tells.
pub const GATEWAY_PREFIX: &str = "gateway.";

/// Names and values.
pub(super) fn facts(resolver: &Resolver<'_>, gateway: Surroundings) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if !gateway.authenticates {
        // A caller may have written any of these headers.
        return facts;
    }
    let mut add = |name: &'static str, headers: &[Known]| {
        let said = headers.iter().find_map(|header| identity(resolver.known(*header)?));
        facts.extend(said.map(|text| (name, text)));
    };
    if gateway.is_kong {
        add("gateway.consumer", &[Known::XConsumerUsername, Known::XConsumerCustomId, Known::XConsumerId]);
        add("gateway.credential", &[Known::XCredentialIdentifier]);
    } else {
        // Envoy takes it from outside callers away, where it has `use_remote_address`.
        add("gateway.downstream_service", &[Known::XEnvoyDownstreamServiceCluster]);
    }
    facts
}
