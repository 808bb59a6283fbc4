//! What would be exported for one recorded exchange, through the code that the filter runs (README, "Why does my trace
//! look like this?").

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::io::{Read, Write};
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;
    use std::rc::Rc;

    use ai_tracing::config::Settings;
    use ai_tracing::explain::{self, Exchange};
    use ai_tracing::provider::Skip;
    use clap::{Parser, ValueEnum};

    /// Shows what ai-tracing would export for one recorded exchange, and why.
    #[derive(Debug, Parser)]
    #[command(name = "explain", version)]
    struct Args {
        /// File with one exchange as JSON; `-` reads it from the standard input.
        file: PathBuf,
        /// File with the filter's configuration (JSON). No keys are needed, and nothing is sent.
        #[arg(long)]
        config: Option<PathBuf>,
        /// `tree`: for people. `json`: what was read of the call, one object. `otlp`: the request to Langfuse.
        #[arg(long, value_enum, default_value_t = Format::Tree)]
        format: Format,
        /// Print the exchange itself instead, without texts, ids and credentials, for a public bug report.
        #[arg(long, conflicts_with = "format")]
        redact: bool,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
    enum Format {
        Tree,
        Json,
        Otlp,
    }

    /// What went wrong, and the exit code that says so.
    struct Failure(u8, String);

    const UNREADABLE: u8 = 1;
    const BAD_CONFIG: u8 = 2;

    pub(super) fn main() -> ExitCode {
        let args = Args::parse();
        let text = match run(&args) {
            Ok(text) => text,
            Err(Failure(code, problem)) => {
                eprintln!("explain: {problem}");
                return ExitCode::from(code);
            }
        };
        match writeln!(std::io::stdout().lock(), "{text}") {
            // Who stops reading (`| head`) has seen enough.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                eprintln!("explain: {error}");
                ExitCode::from(UNREADABLE)
            }
            _ => ExitCode::SUCCESS,
        }
    }

    fn run(args: &Args) -> Result<String, Failure> {
        if is_stdin(&args.file) && args.config.as_deref().is_some_and(is_stdin) {
            return Err(Failure(
                BAD_CONFIG,
                "only one of exchange and configuration can be the standard input".to_owned(),
            ));
        }
        let settings = settings(args.config.as_deref())?;
        let failed = |problem: &dyn std::fmt::Display| Failure(UNREADABLE, format!("{}: {problem}", name(&args.file)));
        let bytes = read(&args.file).map_err(|error| failed(&error))?;
        let exchange = Exchange::parse(&bytes).map_err(|error| failed(&error))?;
        if args.redact { redacted(&exchange, &settings) } else { shown(&exchange, &settings, args.format) }
    }

    fn settings(file: Option<&Path>) -> Result<Rc<Settings>, Failure> {
        let source = file.map_or("environment".to_owned(), name);
        let failed = |problem: &dyn std::fmt::Display| Failure(BAD_CONFIG, format!("{source}: {problem}"));
        let text = file.map_or_else(|| Ok(b"{}".to_vec()), read).map_err(|error| failed(&error))?;
        let settings = Settings::load(&text, &|name| std::env::var(name).ok()).map_err(|error| failed(&error))?;
        settings.warnings.iter().for_each(|warning| eprintln!("explain: {source}: {warning}"));
        Ok(Rc::new(settings))
    }

    fn is_stdin(file: &Path) -> bool {
        file.as_os_str() == "-"
    }

    fn name(file: &Path) -> String {
        if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() }
    }

    fn read(file: &Path) -> std::io::Result<Vec<u8>> {
        if !is_stdin(file) {
            return std::fs::read(file);
        }
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn shown(exchange: &Exchange, settings: &Rc<Settings>, format: Format) -> Result<String, Failure> {
        let traced = match explain::replay(exchange, settings) {
            Ok(traced) => traced,
            Err(skip) => return Ok(not_traced(exchange, skip, format)),
        };
        if format == Format::Json {
            return Ok(traced.fields);
        }
        let bug = |error: &dyn std::fmt::Display| Failure(UNREADABLE, format!("a bug, please report it: {error}"));
        let request = explain::sent(&traced, exchange).map_err(|error| bug(&error))?;
        match format {
            Format::Otlp => serde_json::to_string_pretty(&request).map_err(|error| bug(&error)),
            _ => Ok(explain::tree(exchange, &traced, &request)),
        }
    }

    fn not_traced(exchange: &Exchange, skip: Skip, format: Format) -> String {
        let (name, reason, remedy) = (skip.name(), explain::reason(skip), explain::remedy(skip));
        match format {
            Format::Tree => explain::skipped(exchange, skip),
            Format::Json => serde_json::json!({"skipped": name, "reason": reason, "remedy": remedy}).to_string(),
            Format::Otlp => {
                eprintln!("explain: nothing is sent: {reason} ({name})");
                r#"{"resourceSpans": []}"#.to_owned()
            }
        }
    }

    fn redacted(exchange: &Exchange, settings: &Rc<Settings>) -> Result<String, Failure> {
        let redacted = explain::redact(exchange);
        let differences = explain::differences(exchange, &redacted, settings);
        if !differences.is_empty() {
            eprintln!(
                "explain: the redacted exchange is read in another way than the original: {}",
                differences.join(", ")
            );
        }
        serde_json::to_string_pretty(&redacted).map_err(|error| Failure(UNREADABLE, error.to_string()))
    }
}

#[cfg(not(target_family = "wasm"))]
fn main() -> std::process::ExitCode {
    native::main()
}

/// A build of everything for wasm must not fail; there is nothing to run there.
#[cfg(target_family = "wasm")]
fn main() {}
