//! A map by name that only grows, and is read without a lock.

use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use carrotcache_lru::DefaultHashBuilder;

/// What was added, by name. Nothing is ever taken out or exchanged.
///
/// It is a trie of hashes. Each branch holds one value; whoever looks for another goes on to one of
/// four branches, by the next two bits of the name's hash. Among a hundred names that is some three
/// steps. After the last bits come branches in a row, so names may even share a hash.
pub(crate) struct NameMap<T, S = DefaultHashBuilder> {
    root: Slot<T>,
    hash_builder: S,
}

/// Where a branch is, or will once be.
type Slot<T> = OnceLock<Box<Branch<T>>>;

struct Branch<T> {
    hash: u64,
    name: Arc<str>,
    value: T,
    next: [Slot<T>; 4],
}

impl<T, S: Default> Default for NameMap<T, S> {
    fn default() -> Self {
        Self { root: Slot::new(), hash_builder: S::default() }
    }
}

impl<T, S: BuildHasher> NameMap<T, S> {
    /// Returns what was added under that name. Neither waits nor writes to anything.
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.walk(self.hash_builder.hash_one(name), name).ok()
    }

    /// Adds a value, or gives it back if the name is taken.
    pub(crate) fn add(&self, name: Arc<str>, value: T) -> Result<(), T> {
        let hash = self.hash_builder.hash_one(&*name);
        let mut branch = Box::new(Branch { hash, name, value, next: Default::default() });
        while let Err(free) = self.walk(hash, &branch.name) {
            match free.set(branch) {
                Ok(()) => return Ok(()),
                // Another thread was faster, with this name or one whose way leads through here.
                Err(refused) => branch = refused,
            }
        }
        Err(branch.value)
    }

    /// Returns the value of that name, or else the place where it belongs.
    fn walk(&self, hash: u64, name: &str) -> Result<&T, &Slot<T>> {
        let (mut slot, mut turns) = (&self.root, hash);
        while let Some(branch) = slot.get() {
            if branch.hash == hash && *branch.name == *name {
                return Ok(&branch.value);
            }
            slot = &branch.next[(turns & 3) as usize];
            turns >>= 2;
        }
        Err(slot)
    }
}

impl<T, S> NameMap<T, S> {
    /// Returns all values, in no order. What others add meanwhile may be among them.
    pub(crate) fn values(&self) -> Vec<&T> {
        let mut values = Vec::new();
        let mut slots = vec![&self.root];
        while let Some(slot) = slots.pop() {
            if let Some(branch) = slot.get() {
                values.push(&branch.value);
                slots.extend(&branch.next);
            }
        }
        values
    }
}

impl<T, S> Drop for NameMap<T, S> {
    fn drop(&mut self) {
        // One after the other: nested, a long row of branches would not fit the stack.
        let mut branches = Vec::from_iter(self.root.take());
        while let Some(mut branch) = branches.pop() {
            branches.extend(branch.next.iter_mut().filter_map(Slot::take));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// Gives every name the same hash.
    #[derive(Default)]
    struct AllAlike;

    impl BuildHasher for AllAlike {
        type Hasher = Self;

        fn build_hasher(&self) -> Self {
            Self
        }
    }

    impl Hasher for AllAlike {
        fn write(&mut self, _bytes: &[u8]) {}

        fn finish(&self) -> u64 {
            u64::MAX
        }
    }

    fn name(number: usize) -> Arc<str> {
        format!("name-{number}").into()
    }

    /// Adds so many names to an empty map, and asks for these and as many others.
    fn add_and_find<S: BuildHasher + Default>(count: usize) {
        let map = NameMap::<usize, S>::default();
        assert!(map.get("name-0").is_none() && map.values().is_empty());
        for number in 0..count {
            assert_eq!(map.add(name(number), number), Ok(()));
        }
        for number in 0..count {
            assert_eq!(map.get(&name(number)), Some(&number));
            assert_eq!(map.get(&name(count + number)), None);
            assert_eq!(map.add(name(number), count), Err(count), "the name is taken");
        }
        let mut values = map.values();
        values.sort_unstable();
        assert!(values.into_iter().copied().eq(0..count), "all that was added, and nothing twice");
    }

    #[test]
    fn thousands_of_names_are_found_again() {
        add_and_find::<DefaultHashBuilder>(5_000);
    }

    #[test]
    fn names_that_share_a_hash_are_told_apart() {
        add_and_find::<AllAlike>(500);
    }

    #[test]
    fn the_empty_name_is_a_name() {
        let map = NameMap::<_>::default();
        assert_eq!((map.add("".into(), 1), map.add("".into(), 2)), (Ok(()), Err(2)));
        assert_eq!(map.get(""), Some(&1));
    }

    #[test]
    fn a_long_row_of_branches_is_dropped_on_a_small_stack() {
        const STACK_BYTES: usize = 64 << 10;
        let map = NameMap::<_, AllAlike>::default();
        let counted = Arc::new(());
        for number in 0..5_000 {
            assert!(map.add(name(number), Arc::clone(&counted)).is_ok());
        }
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || drop(map));
        thread.unwrap().join().unwrap();
        assert_eq!(Arc::strong_count(&counted), 1, "every value was dropped");
    }

    /// Has eight threads add the same names at the same time, and all of them find who won.
    fn race<S: BuildHasher + Default + Send + Sync>(names: usize) {
        const THREADS: usize = 8;
        let map = NameMap::<usize, S>::default();
        let start = Barrier::new(THREADS);
        let add_all = |thread: usize| {
            start.wait();
            let mut won = Vec::new();
            for number in 0..names {
                match map.add(name(number), thread) {
                    Ok(()) => won.push(number),
                    Err(value) => assert_eq!(value, thread, "one's own value comes back"),
                }
                assert!(map.get(&name(number)).is_some(), "somebody has added it");
            }
            (thread, won)
        };
        let winners: Vec<_> = thread::scope(|scope| {
            let add_all = &add_all;
            let threads: Vec<_> =
                (0..THREADS).map(|thread| scope.spawn(move || add_all(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (thread, won) in &winners {
            assert!(won.iter().all(|&number| map.get(&name(number)) == Some(thread)));
        }
        assert_eq!(winners.iter().map(|(_, won)| won.len()).sum::<usize>(), names);
        assert_eq!(map.values().len(), names);
    }

    #[test]
    fn of_many_threads_that_add_a_name_exactly_one_wins() {
        race::<DefaultHashBuilder>(2_000);
        race::<AllAlike>(200);
    }
}
