//! Memory that is not needed and not given back.

/// Gives memory that was freed back to the system, as far as the allocator keeps it, and the pages of code that only the
/// start needed.
///
/// Reading a configuration and handing ten thousands of items to plugins takes several times the memory that stays in
/// use, and the C library keeps what lies between blocks in use. The code that does it, and what the system brought along
/// with it, counts as memory of the process, too, until the system runs short. It costs some milliseconds.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim(3) may be called at any time from any thread.
    unsafe {
        malloc_trim(0);
    }
    #[cfg(target_os = "linux")]
    for code in unchanged_code(&std::fs::read_to_string("/proc/self/smaps").unwrap_or_default()) {
        let start = std::ptr::without_provenance_mut(code.start);
        // SAFETY: madvise(2), MADV_DONTNEED: the pages of a private mapping of a file are read from it again when they
        // are touched, so it loses what was written to them, which is nothing: none is a copy, and none is writable.
        unsafe {
            madvise(start, code.len(), MADV_DONTNEED);
        }
    }
}

/// Where code of files is mapped that nobody has changed in memory, neither the linker nor a debugger; proc(5) has the
/// format of `smaps`.
#[cfg(target_os = "linux")]
fn unchanged_code(smaps: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut code = None;
    for line in smaps.lines() {
        let mut fields = line.split_ascii_whitespace();
        match fields.next() {
            Some("Anonymous:") if fields.next() == Some("0") => found.extend(code.take()),
            Some(name) if name.ends_with(':') => {}
            Some(_) | None => code = code_of(line),
        }
    }
    found
}

/// The range of a mapping, if it is code of a file.
#[cfg(target_os = "linux")]
fn code_of(head: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = head.split_ascii_whitespace();
    let (range, access, file) = (fields.next()?, fields.next()?, fields.nth(3)?);
    let (start, end) = range.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    (access == "r-xp" && file.starts_with('/')).then_some(range)
}

#[cfg(target_os = "linux")]
const MADV_DONTNEED: std::ffi::c_int = 4;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    fn malloc_trim(pad: usize) -> std::ffi::c_int;
}

#[cfg(target_os = "linux")]
unsafe extern "C" {
    fn madvise(start: *mut std::ffi::c_void, length: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    const SMAPS: &str = "\
        55d0-55d8 r--p 00000000 fe:00 1311 /opt/twinhub/bin/twinhub\nRss: 8 kB\nAnonymous: 0 kB\n\
        55d8-5600 r-xp 00008000 fe:00 1311 /opt/twinhub/bin/twinhub\nRss: 8 kB\nAnonymous: 0 kB\nVmFlags: rd ex\n\
        5600-5608 rw-p 00030000 fe:00 1311 /opt/twinhub/bin/twinhub\nAnonymous: 0 kB\n\
        6000-6004 rwxp 00000000 00:00 0 \nAnonymous: 0 kB\n\
        6100-6200 r-xp 00000000 fe:00 1400 /lib/relocated.so\nAnonymous: 4 kB\nAnonHugePages: 0 kB\n\
        7f00-7f08 r-xp 00000000 fe:00 1400 /var/lib/a plugin.so (deleted)\nAnonymous: 0 kB\n\
        7fff-8fff r-xp 00000000 00:00 0 [vdso]\nAnonymous: 0 kB\n\
        no line\n\nAnonymous: 0 kB\n\
        9000-zzzz r-xp 00000000 fe:00 1400 /lib/x.so\nAnonymous: 0 kB\n";

    #[test]
    fn code_of_files_is_found_unless_somebody_changed_it() {
        assert_eq!(unchanged_code(SMAPS), [0x55d8..0x5600, 0x7f00..0x7f08]);
    }

    /// Bytes of code that are in memory now.
    fn resident() -> u64 {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_code = false;
        let mut kib = 0;
        for line in text.lines() {
            match line.strip_prefix("Rss:") {
                Some(rss) if is_code => {
                    kib += rss.split_ascii_whitespace().next().unwrap().parse::<u64>().unwrap();
                }
                Some(_) => {}
                None if line.split_ascii_whitespace().next().is_some_and(|name| name.ends_with(':')) => {}
                None => is_code = code_of(line).is_some(),
            }
        }
        kib * 1024
    }

    #[test]
    fn code_that_was_given_back_takes_no_memory_and_is_there_when_it_is_called() {
        // Whatever this calls was mapped before.
        assert!("0.25".parse::<f64>().is_ok_and(|number| format!("{number:.1e}") == "2.5e-1"));
        let before = resident();
        give_back_memory();
        let after = resident();
        assert!(after < before, "{after} of {before} bytes");
        assert!("0.25".parse::<f64>().is_ok_and(|number| format!("{number:.1e}") == "2.5e-1"));
    }
}
