//! The corpora of `fuzz/`, replayed on stable Rust: every input that was ever worth keeping goes through its
//! target again.
//!
//! `ITERD_FUZZ_SECONDS` says for how long each target is also given inputs that are changed by chance
//! (none unless said); the ones of the corpus are what they begin as. `ITERD_FUZZ_TARGET` names one alone.

#[path = "../../fuzz/targets/mod.rs"]
mod targets;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        panic::catch_unwind,
        path::{Path, PathBuf},
        time::{Duration, Instant},
    };

    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::targets::{ALL, Target};

    /// Longest input that chance makes.
    const BYTES_MAX: usize = 4096;

    fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(name);
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let read = |path: PathBuf| {
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        };
        files.into_iter().map(read).collect()
    }

    #[test]
    fn every_input_of_the_corpora_is_taken_by_its_target() {
        for (name, target) in ALL {
            let inputs = corpus(name);
            assert!(inputs.len() >= 5, "{name} has a corpus");
            for (path, bytes) in inputs {
                let outcome = catch_unwind(|| target(&bytes));
                assert!(outcome.is_ok(), "{name}: {}", path.display());
            }
        }
    }

    #[test]
    fn every_corpus_belongs_to_a_target() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(ALL.iter().any(|(known, _)| *known == name), "{name}");
        }
    }

    #[test]
    fn inputs_changed_by_chance_are_taken_as_well() {
        let seconds =
            std::env::var("ITERD_FUZZ_SECONDS").map_or(0, |seconds| seconds.parse().unwrap());
        let only = std::env::var("ITERD_FUZZ_TARGET").ok();
        for (name, target) in ALL {
            if only.as_ref().is_none_or(|only| only == name) {
                change(name, *target, Duration::from_secs(seconds));
            }
        }
    }

    /// Goes on for that long, and for some hundred inputs in any case.
    fn change(name: &str, target: Target, how_long: Duration) {
        let inputs: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let seed = if how_long.is_zero() {
            1
        } else {
            rand::random()
        };
        let mut rng = StdRng::seed_from_u64(seed);
        let begin = Instant::now();
        let mut count = 0_u32;
        while count < 200 || begin.elapsed() < how_long {
            count += 1;
            let mut input = inputs[rng.random_range(0..inputs.len())].clone();
            for _ in 0..rng.random_range(1..5) {
                mutate(&mut input, &inputs, &mut rng);
            }
            input.truncate(BYTES_MAX);
            let outcome = catch_unwind(|| target(&input));
            let text = String::from_utf8_lossy(&input);
            assert!(outcome.is_ok(), "{name}: {text:?}");
        }
        println!("{name}: {count} inputs in {:?}", begin.elapsed());
    }

    fn mutate(input: &mut Vec<u8>, inputs: &[Vec<u8>], rng: &mut StdRng) {
        const TOKENS: &[&str] = &[
            "$",
            "$$",
            ".",
            "..",
            "[",
            "]",
            "[*]",
            "[?(",
            "@",
            ")",
            "(",
            "'",
            "\"",
            "\\",
            "\\u0000",
            ",",
            ":",
            "{",
            "}",
            "{%",
            "%}",
            "null",
            "-1",
            "0",
            "1e999",
            "99999999999999999999",
            "-0.0",
            "\u{e9}",
            "\u{1f600}",
            "\n",
            "\0",
            " ",
            "States.Format(",
            "$map(",
            "function($x){",
            "~>",
            "*",
            "&&",
            "==",
            "=~",
            "T",
            "Z",
            "+24:00",
            "9999",
            "$states.",
            "true",
            "[[[[[[[[",
            "{\"a\":",
            "&",
            "/",
            "$range(1,9999999)",
        ];
        let at = rng.random_range(0..=input.len());
        let to = rng.random_range(at..=input.len().min(at + 40));
        match rng.random_range(0..7) {
            0 => drop(input.drain(at..to)),
            1 => {
                let piece = input[at..to].to_vec();
                let into = rng.random_range(0..=input.len());
                input.splice(into..into, piece);
            }
            2 if at < input.len() => input[at] = rng.random(),
            3 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            4 => {
                let other = &inputs[rng.random_range(0..inputs.len())];
                let from = rng.random_range(0..=other.len());
                let until = rng.random_range(from..=other.len());
                input.splice(at..to, other[from..until].iter().copied());
            }
            _ => {
                let token = TOKENS[rng.random_range(0..TOKENS.len())];
                input.splice(at..at, token.bytes());
            }
        }
    }
}
