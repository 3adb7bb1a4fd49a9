//! The keys, the values and the order in which they are asked for.

/// All keys there are.
pub(crate) const KEYS: usize = 1_000_000;

/// Bytes of a value.
pub(crate) const VALUE: usize = 100;

/// Bytes of a key and its value.
pub(crate) const ENTRY: u64 = 16 + VALUE as u64;

/// How many requests are drawn; a benchmark goes round and round over them.
const REQUESTS: usize = 2_000_000;

/// The key of a number: 16 bytes.
pub(crate) fn key(number: usize) -> String {
    format!("user:{number:011}")
}

/// All keys, spread over memory: allocated in another order than they are numbered in.
pub(crate) fn keys() -> Vec<String> {
    let mut keys = vec![String::new(); KEYS];
    for number in shuffled() {
        keys[number] = key(number);
    }
    keys
}

/// Requests whose probability falls with the `exponent`-th power of the key's rank.
pub(crate) fn zipf(exponent: f64) -> Vec<usize> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    let by_rank = shuffled();
    let mut random = Random::new(7);
    let draw = |_| by_rank[sums.partition_point(|&up_to| up_to < random.unit() * sum)];
    (0..REQUESTS).map(draw).collect()
}

/// Requests that ask for each of the first `count` keys as often.
pub(crate) fn uniform(count: u64) -> Vec<usize> {
    let mut random = Random::new(5);
    (0..REQUESTS).map(|_| (random.next() % count) as usize).collect()
}

fn shuffled() -> Vec<usize> {
    let mut random = Random::new(99);
    let mut numbers: Vec<usize> = (0..KEYS).collect();
    for at in (1..KEYS).rev() {
        numbers.swap(at, random.next() as usize % (at + 1));
    }
    numbers
}

/// xorshift64: the same numbers in each run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
