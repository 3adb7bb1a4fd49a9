module carrotcache/interop/go

go 1.19

require (
	github.com/golang/groupcache v0.0.0-20210331224755-41bb18bfe9da
	github.com/golang/protobuf v1.3.5 // indirect
)
