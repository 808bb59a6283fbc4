//! Configuration: parsed once ([`ConfigFile`]), completed from the environment, and compiled into [`Settings`] that
//! cannot be wrong.

mod activation;
mod context;
mod endpoint;
mod entries;
mod file;
mod prices;
mod projects;
mod protocol;
mod providers;
#[cfg(not(target_family = "wasm"))]
pub mod schema;
mod secret;
mod values;

pub use activation::{Activation, Projects, Target};
pub use endpoint::{Endpoint, EndpointError, is_address};
#[cfg(not(target_family = "wasm"))]
pub use file::documentation;
pub use file::{ConfigError, ConfigFile, KEYS};
pub use prices::PriceList;
pub use projects::{Asked, ProjectList, When};
pub use protocol::Protocol;
pub use providers::ProviderList;
pub use secret::Secret;
pub use values::{Count, Flag, LogLevel, Words};

use std::rc::Rc;

use crate::context::{Field, Rules, Written};
use crate::provider::{Custom, ModelPrices};

/// Reads a variable of the module's environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

const DEFAULT_ENVIRONMENT: &str = "production";

/// Caps of one call's capture, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureLimits {
    /// Of the request body.
    pub input: usize,
    /// Of the answer.
    pub output: usize,
    /// Of one read on WasmX.
    pub read: usize,
}

/// Caps of the export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportLimits {
    /// Traces in the queue.
    pub queue_items: usize,
    /// Bytes in the queue.
    pub queue_bytes: usize,
    /// Traces in a batch.
    pub batch_items: usize,
    /// Bytes in a batch.
    pub batch_bytes: usize,
    /// Milliseconds after which a batch is sent however small it is.
    pub batch_age_ms: u64,
    /// Milliseconds after which an unsent batch is dropped.
    pub retry_age_ms: u64,
}

impl ExportLimits {
    /// The caps of each of `lanes` queues that share a budget of `memory` bytes: a project whose server is dead fills its
    /// own share, and leaves the others and the calls in flight theirs. A single one has nobody to leave it to.
    #[must_use]
    pub fn shared_by(self, lanes: usize, memory: usize) -> Self {
        let share = if lanes > 1 { memory / 2 / lanes } else { usize::MAX };
        Self { queue_bytes: self.queue_bytes.min(share), ..self }
    }
}

/// What every trace carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Langfuse environment.
    pub environment: String,
    /// Release.
    pub release: Option<String>,
    /// Version.
    pub version: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
}

/// A configuration that has been checked and completed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether traces can be sent.
    pub activation: Activation,
    /// What every trace carries.
    pub labels: Labels,
    /// What is logged.
    pub log_level: LogLevel,
    /// Paths that are not traced.
    pub ignore_paths: Vec<String>,
    /// Caps of a capture.
    pub capture: CaptureLimits,
    /// Caps of the export.
    pub export: ExportLimits,
    /// Bytes that the VM may hold.
    pub memory_budget: usize,
    /// Langfuse may estimate a usage that the provider did not state.
    pub estimate_usage: bool,
    /// What models cost that Langfuse has no price for.
    pub prices: Vec<ModelPrices>,
    /// Configured providers.
    pub providers: Vec<Rc<Custom>>,
    /// Where a call's context comes from.
    pub context: Rules,
    /// The gateway authenticates callers, and names them in headers of its own.
    pub gateway_authenticates: bool,
    /// Answers tell the caller which trace they are, or why they are none.
    pub response_headers: bool,
    /// Things in the environment that were wrong and have been passed over, for one log line each.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Parses `bytes` and completes it from `env`.
    ///
    /// # Errors
    /// Only what is wrong in the text itself; what the environment lacks is in [`Settings::activation`].
    pub fn load(bytes: &[u8], env: Environment<'_>) -> Result<Self, ConfigError> {
        let file = ConfigFile::parse(bytes)?;
        let mut warnings = Vec::new();
        let labels = labels(&file, env, &mut warnings)?;
        if !file.gateway_authenticates.0 && file.projects.0.iter().any(|entry| entry.when.consumer.is_some()) {
            warnings.push(CONSUMER_WARNING.to_owned());
        }
        Ok(Self {
            activation: activation::activation(&file, env),
            labels,
            log_level: file.log_level,
            capture: CaptureLimits {
                input: size(file.max_input_bytes),
                output: size(file.max_output_bytes),
                read: size(file.max_read),
            },
            export: export_limits(&file),
            context: context_rules(&file, env),
            response_headers: file.response_headers.0,
            gateway_authenticates: file.gateway_authenticates.0,
            prices: file.prices.0,
            providers: file.providers.0.into_iter().map(Rc::new).collect(),
            memory_budget: size(file.memory_budget),
            estimate_usage: file.estimate_usage.0,
            ignore_paths: file.ignore_paths.0,
            warnings,
        })
    }
}

/// What the operator has said for all calls is not asked of callers, unless the configuration lists them.
fn context_rules(file: &ConfigFile, env: Environment<'_>) -> Rules {
    let mut lists = file.context.clone();
    let said = |set_in_file: &Option<String>, variable: &str| {
        set_in_file.as_ref().is_some_and(|text| !text.is_empty()) || set(env, variable).is_some()
    };
    for (field, is_said) in [
        (Field::Environment, said(&file.environment, "LANGFUSE_TRACING_ENVIRONMENT")),
        (Field::Release, said(&file.release, "LANGFUSE_RELEASE")),
        (Field::Version, said(&file.version, "")),
    ] {
        if is_said && lists.fields.iter().all(|(listed, _)| *listed != field) {
            lists.fields.push((field, Vec::new()));
        }
    }
    Rules::new(Written { lists, parent: file.parent, trust: file.trust_caller, jwt: file.verified_jwt.clone() })
}

fn size(Count(number): Count) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn export_limits(file: &ConfigFile) -> ExportLimits {
    ExportLimits {
        queue_items: size(file.queue_max_items),
        queue_bytes: size(file.queue_max_bytes),
        batch_items: size(file.batch_max_items),
        batch_bytes: size(file.batch_max_bytes),
        batch_age_ms: file.batch_max_age.0,
        retry_age_ms: file.retry_max_age.0,
    }
}

fn labels(file: &ConfigFile, env: Environment<'_>, warnings: &mut Vec<String>) -> Result<Labels, ConfigError> {
    let environment = match (&file.environment, set(env, "LANGFUSE_TRACING_ENVIRONMENT")) {
        (Some(name), _) => environment_name(name)
            .ok_or_else(|| ConfigError::Value { key: "environment", problem: ENVIRONMENT_RULE.to_owned() })?,
        (None, Some(name)) => environment_name(&name).unwrap_or_else(|| {
            warnings.push(format!("LANGFUSE_TRACING_ENVIRONMENT: {ENVIRONMENT_RULE}; using {DEFAULT_ENVIRONMENT}"));
            DEFAULT_ENVIRONMENT.to_owned()
        }),
        (None, None) => DEFAULT_ENVIRONMENT.to_owned(),
    };
    let non_empty = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(Labels {
        environment,
        release: non_empty(&file.release).or_else(|| set(env, "LANGFUSE_RELEASE")),
        version: non_empty(&file.version),
        tags: file.tags.0.clone(),
    })
}

const CONSUMER_WARNING: &str = "projects name a `consumer`, which any caller can claim to be where no plugin authenticates: set \
                                gateway_authenticates once every route of this filter does";
const ENVIRONMENT_RULE: &str = "must be 1 to 40 letters, digits, `-` or `_`, and must not begin with `langfuse` (Langfuse would file it elsewhere)";

/// The name as Langfuse stores it; none where Langfuse would replace it.
pub(crate) fn environment_name(name: &str) -> Option<String> {
    let name = name.trim().to_ascii_lowercase();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let fits = (1..=40).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with("langfuse");
    fits.then_some(name)
}

fn set(env: Environment<'_>, name: &str) -> Option<String> {
    env(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, vars: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let vars: Vec<_> = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::load(text.as_bytes(), &|name| vars.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()))
    }

    fn target(settings: &Settings) -> &Target {
        match &settings.activation {
            Activation::Ready(projects) => projects.targets.first().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn enabled_and_the_environment_are_a_whole_configuration() {
        let vars = [("LANGFUSE_PUBLIC_KEY", "pk"), ("LANGFUSE_SECRET_KEY", "sk"), ("LANGFUSE_RELEASE", "v1")];
        let settings = load(r#"{"langfuse_enabled":true}"#, &vars).unwrap();
        let target = target(&settings);
        assert_eq!(target.authorization.as_ref().map(Secret::expose), Some("Basic cGs6c2s="));
        assert_eq!((target.upstream.as_str(), target.timeout_ms), ("cloud.langfuse.com:443", 5000));
        assert_eq!(
            (settings.labels.environment.as_str(), settings.labels.release.as_deref()),
            ("production", Some("v1"))
        );
    }

    #[test]
    fn the_configuration_comes_before_the_environment() {
        let vars =
            [("LANGFUSE_BASE_URL", "https://us.cloud.langfuse.com"), ("MY_KEY", "sk2"), ("LANGFUSE_SECRET_KEY", "sk")];
        let text = r#"{"langfuse_enabled":true,"langfuse_public_key":"pk","langfuse_secret_key":"{vault://env/my-key}","environment":"PROD"}"#;
        let settings = load(text, &vars).unwrap();
        assert_eq!(target(&settings).endpoint.authority, "us.cloud.langfuse.com");
        assert_eq!(target(&settings).authorization.as_ref().map(Secret::expose), Some("Basic cGs6c2sy"));
        assert_eq!(settings.labels.environment, "prod");
    }

    #[test]
    fn what_the_environment_lacks_is_said_and_is_no_error() {
        for (text, missing) in [
            (r#"{"langfuse_enabled":true}"#, "LANGFUSE_PUBLIC_KEY"),
            (r#"{"langfuse_enabled":true,"langfuse_public_key":"pk"}"#, "LANGFUSE_SECRET_KEY"),
            (r#"{"langfuse_enabled":true,"langfuse_public_key":"{vault://env/a-b}"}"#, "A_B"),
            (r#"{"langfuse_enabled":true,"langfuse_public_key":"{vault://hcv/a}"}"#, "no other vault"),
        ] {
            match load(text, &[]).unwrap().activation {
                Activation::Incomplete(problem) => assert!(problem.contains(missing), "{problem}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(load("{}", &[]).unwrap().activation, Activation::Off);
    }

    #[test]
    fn an_environment_name_that_langfuse_would_replace_is_refused_or_said() {
        assert!(
            load(r#"{"environment":"Prod EU!"}"#, &[]).unwrap_err().to_string().starts_with("environment: must be")
        );
        let settings = load("{}", &[("LANGFUSE_TRACING_ENVIRONMENT", "langfuse-x")]).unwrap();
        assert_eq!((settings.labels.environment.as_str(), settings.warnings.len()), ("production", 1));
    }

    #[test]
    fn a_consumer_that_nobody_has_checked_is_warned_of() {
        let text = r#"{"projects":[{"consumer":"a","langfuse_public_key":"p","langfuse_secret_key":"s"}]"#;
        let warnings = |more: &str| load(&format!("{text}{more}}}"), &[]).unwrap().warnings;
        assert!(warnings("").iter().any(|warning| warning.contains("gateway_authenticates")));
        assert!(warnings(r#","gateway_authenticates":true"#).is_empty());
    }

    #[test]
    fn debug_output_of_settings_has_no_key() {
        let text = r#"{"langfuse_enabled":true,"langfuse_public_key":"pk-lf-1","langfuse_secret_key":"sk-lf-1"}"#;
        let shown = format!("{:?}", load(text, &[]).unwrap());
        assert!(!shown.contains("-lf-") && !shown.contains("Basic"), "{shown}");
    }
}
