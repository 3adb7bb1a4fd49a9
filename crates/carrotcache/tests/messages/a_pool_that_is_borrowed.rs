// The compiler says: closure may outlive the current function, but it borrows `pool`
// The compiler says: help: to force the closure to take ownership of `pool`

use carrotcache::Node;

#[derive(Clone)]
struct Pool;

impl Pool {
    async fn find(&self, key: &str) -> std::io::Result<Option<String>> {
        Ok(Some(key.to_owned()))
    }
}

fn main() {
    let pool = Pool;
    let _ = Node::new().group("scores").loader(|key: String| {
        let pool = pool.clone();
        async move { pool.find(&key).await }
    });
}
