//! Every fuzz target for a second: over its committed corpus, and over inputs made of it (`make fuzz` runs each for ten
//! minutes under libFuzzer).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "fuzzing goes on for a time")]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ai_tracing::fuzz::{TARGETS, Target};

/// How long each target is given new inputs.
const TIME: Duration = Duration::from_millis(700);
/// Longest input, bytes.
const LONGEST: usize = 4096;

/// The committed inputs of a target, in the order of their names.
fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder: PathBuf = testkit::repository_root().join("fuzz/corpus").join(target.name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
    let mut inputs: Vec<_> = files.map(|file| read(file.unwrap().path())).collect();
    inputs.sort_unstable();
    assert!(!inputs.is_empty(), "{} has no corpus", target.name);
    inputs
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        usize::try_from((mixed ^ (mixed >> 27)) % limit.max(1) as u64).unwrap()
    }
}

/// One input with pieces of itself or another replaced, doubled or taken away.
fn mutated(inputs: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    const ODD: &[u8] = b"\0\"\\{}[],:\r\n\xFF\xC3\xF0-.e09 u";
    let mut out = inputs[random.below(inputs.len())].1.clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(out.len() + 1);
        let end = (at + random.below(40)).min(out.len());
        match random.below(5) {
            0 => out.insert(at, ODD[random.below(ODD.len())]),
            1 => drop(out.drain(at..end)),
            2 => {
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
            3 => {
                let other = &inputs[random.below(inputs.len())].1;
                let from = random.below(other.len() + 1);
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
            _ => {
                if let Some(byte) = out.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    out.truncate(LONGEST);
    out
}

/// Runs the target; a failure names the input, as a file that `make fuzz` takes, too.
fn run(target: &Target, name: &str, input: &[u8]) {
    let run = std::panic::AssertUnwindSafe(|| (target.run)(input));
    if std::panic::catch_unwind(run).is_err() {
        let file = std::env::temp_dir().join(format!("ai-tracing-{}-finding", target.name));
        fs::write(&file, input).unwrap();
        panic!("target {} fails for {name}: {}", target.name, file.display());
    }
}

#[test]
fn no_target_finds_anything() {
    for target in TARGETS {
        let inputs = corpus(target);
        inputs.iter().for_each(|(name, input)| run(target, name, input));
        let (start, mut random, mut runs) = (Instant::now(), Random(1), 0);
        while start.elapsed() < TIME || runs == 0 {
            run(target, &format!("input {runs}"), &mutated(&inputs, &mut random));
            runs += 1;
        }
        println!("{}: {} inputs, {runs} made of them", target.name, inputs.len());
    }
}
