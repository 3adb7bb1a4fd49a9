// The compiler says: error[E0282]: type annotations needed
// The compiler says: help: consider specifying the generic arguments

use carrotcache::Node;

fn main() {
    let _ = Node::new().group("numbers").loader(|key: String| async move {
        let number: u64 = key.parse()?;
        Ok(Some(number.to_string()))
    });
}
