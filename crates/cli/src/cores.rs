//! How many threads compute.

use std::collections::BTreeSet;
use std::path::Path;

/// The threads to use where so many were asked for; 0 takes one for each core that the process may use. Two on one core
/// would share its vector units, which one alone keeps busy.
pub fn threads(asked: usize) -> usize {
    match asked {
        0 => physical().min(num_cpus::get()).max(1),
        threads => threads,
    }
}

/// The physical cores that the process may use, where the system tells; else those of the machine.
fn physical() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let found = mask.and_then(|mask| cores(mask.trim(), Path::new("/sys/devices/system/cpu")));
    found.unwrap_or_else(num_cpus::get_physical)
}

/// The distinct cores that these CPUs are on, `0-3,8`; `folder` has a folder for each CPU.
fn cores(mask: &str, folder: &Path) -> Option<usize> {
    let mut found = BTreeSet::new();
    for range in mask.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        for cpu in first.parse::<usize>().ok()?..=last.parse().ok()? {
            // All CPUs of one core name the same ones.
            let siblings = folder.join(format!("cpu{cpu}/topology/thread_siblings_list"));
            found.insert(std::fs::read_to_string(siblings).ok()?);
        }
    }
    Some(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_of_one_core_count_once() {
        let folder = tempfile::tempdir().unwrap();
        // Four cores; the second thread of core n is CPU n + 64.
        for cpu in [0, 1, 2, 3, 64, 65, 66, 67] {
            let topology = folder.path().join(format!("cpu{cpu}/topology"));
            std::fs::create_dir_all(&topology).unwrap();
            let core = cpu % 64;
            std::fs::write(topology.join("thread_siblings_list"), format!("{core},{}\n", core + 64)).unwrap();
        }
        let cores = |mask: &str| cores(mask, folder.path());
        assert_eq!(cores("0-3,64-67"), Some(4));
        assert_eq!(cores("0,1,64,65"), Some(2));
        assert_eq!(cores("2,67"), Some(2));
        assert_eq!(cores("65"), Some(1));
        // What is not told is not guessed.
        assert_eq!(cores("0-4"), None);
        assert_eq!(cores(""), None);
    }

    #[test]
    fn what_is_asked_for_is_taken() {
        assert_eq!(threads(7), 7);
        assert!((1..=num_cpus::get()).contains(&threads(0)));
    }
}
