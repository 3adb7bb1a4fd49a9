// The compiler says: async closure does not implement `Fn` because it captures state from its environment
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
    let loader = async move |key: String| pool.find(&key).await;
    let _ = Node::new().group("scores").loader(loader);
}
