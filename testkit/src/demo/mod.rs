//! Seven LLM calls through a real Envoy with the filter inside, and what Langfuse has learned of them.
//!
//! By default everything is local: a scripted upstream and a strict stand-in for Langfuse, whose traces are shown.
//! With LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY, LANGFUSE_BASE_URL and UPSTREAM all set the real ones are used; traces
//! cannot be read back then, so delivery is read from the filter's counters in Envoy.

pub(crate) mod answers;
mod calls;
mod outcome;
mod setting;

use calls::{Call, Made};
use outcome::Outcome;
use setting::Setting;
use std::time::Duration;

/// More than one batch interval and a round trip, on a busy machine.
const DELIVERY: Duration = Duration::from_secs(15);

/// Runs the demo and prints it; `Ok` when each call was traced and delivered, else what is missing.
pub async fn run() -> Result<(), String> {
    let setting = Setting::prepare().await?;
    println!("{}\n", setting.description());
    let calls = calls::calls(&setting.model, setting.api_key.as_deref(), setting.is_local());
    let mut made = Vec::new();
    for (index, call) in calls.into_iter().enumerate() {
        made.push(make(index + 1, call, &setting).await);
    }
    let outcome = match &setting.langfuse {
        Some(langfuse) => Outcome::read_back(&made, langfuse, &setting.envoy, DELIVERY).await,
        None => Outcome::counted(&made, &setting.envoy, DELIVERY).await,
    };
    println!("{}", outcome.summary());
    outcome.verdict(&setting)
}

async fn make(number: usize, call: Call, setting: &Setting) -> Made {
    println!("{number}. {}\n   {}", call.title, call.describe());
    let made = call.make(setting.envoy.addr()).await;
    println!("   ← {}\n", made.describe());
    made
}
