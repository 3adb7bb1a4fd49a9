// The compiler says: error: future cannot be sent between threads safely
// The compiler says: has type `Rc<String>` which is not `Send`

use std::rc::Rc;

use carrotcache::Node;

async fn find(key: &str) -> std::io::Result<Option<String>> {
    Ok(Some(key.to_owned()))
}

fn main() {
    let _ = Node::new().group("scores").loader(|key: String| async move {
        let shared = Rc::new(key);
        find(&shared).await
    });
}
