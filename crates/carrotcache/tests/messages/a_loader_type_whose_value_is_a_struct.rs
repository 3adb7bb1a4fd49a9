// The compiler says: `User` is not a value that a cache can keep
// The compiler says: neither bytes nor text
// The compiler says: note: a loader returns `Vec<u8>`, `String`, `&'static str`, `Bytes`, `Value` or the like
// The compiler says: note: encode other types in the loader, for example by `serde_json::to_vec`, or write `impl From<MyType> for Value`

use carrotcache::Loader;

struct User;

struct Users;

impl Loader for Users {
    type Value = User;
    type Error = std::io::Error;

    async fn load(&self, _: String) -> std::io::Result<Option<User>> {
        Ok(Some(User))
    }
}

fn main() {}
