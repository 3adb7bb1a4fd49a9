// The compiler says: closure is `FnOnce` because it moves the variable `pool` out of its environment
// The compiler says: to implement `Loader`

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
    let loader = move |key: String| async move { pool.find(&key).await };
    let _ = Node::new().group("scores").loader(loader);
}
