//! What cannot be read is named, with what to do about it, and its exit code tells scripts.

use super::{explain, fixture};

fn failed(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let output = explain(arguments, input.as_bytes());
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_file_that_is_no_exchange() {
    for (input, said) in [
        ("", "not an exchange file"),
        ("hello", "not an exchange file"),
        (r#"{"response":{}}"#, "missing field `request`"),
        (r#"{"request":{"path":"/","body":"%","body_encoding":"base64"}}"#, "request.body is not base64"),
        (r#"{"request":{"path":"/"},"started_at":"noon"}"#, "started_at is not a time such as"),
    ] {
        let (code, problem) = failed(&["-"], input);
        assert!(
            code == Some(1) && problem.starts_with("explain: standard input: ") && problem.contains(said),
            "{problem}"
        );
    }
    let (code, problem) = failed(&["no/such/file.json"], "");
    assert!(code == Some(1) && problem.contains("no/such/file.json: No such file"), "{problem}");
}

#[test]
fn a_configuration_that_the_filter_would_refuse() {
    let config = tempfile::NamedTempFile::new().unwrap();
    let (file, config_file) = (fixture(), config.path().to_str().unwrap());
    for (text, said) in [
        ("hello", "not a JSON object"),
        (r#"{"langfuse_timeout":"soon"}"#, "langfuse_timeout"),
        (r#"{"langfuse_timout":1}"#, "did you mean `langfuse_timeout`?"),
    ] {
        std::fs::write(config.path(), text).unwrap();
        let (code, problem) = failed(&[file.to_str().unwrap(), "--config", config_file], "");
        assert!(code == Some(2) && problem.contains(config_file) && problem.contains(said), "{problem}");
    }
    let (code, problem) = failed(&[file.to_str().unwrap(), "--config", "no/such/config.json"], "");
    assert!(code == Some(2) && problem.contains("no/such/config.json: No such file"), "{problem}");
}

#[test]
fn arguments_that_make_no_sense() {
    for arguments in [&["-", "--format", "xml"][..], &["-", "--redact", "--format", "json"], &[]] {
        assert_eq!(failed(arguments, "{}").0, Some(2), "{arguments:?}");
    }
    let (code, problem) = failed(&["-", "--config", "-"], "{}");
    assert!(code == Some(2) && problem.contains("only one of"), "{problem}");
}
