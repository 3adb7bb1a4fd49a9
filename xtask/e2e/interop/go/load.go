package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/groupcache"
)

// loadOnEachLine runs one round of load for each line that comes in, and writes
// one line for each round: the gets, the failures, the nanoseconds. It ends with
// its input, or with stop. Who starts it decides when a round runs, and can so read
// both processes' CPU time just before and just after.
func (n *node) loadOnEachLine(stop context.Context, in io.Reader, out io.Writer) error {
	group := n.groups[n.cfg.loadGroup]
	if group == nil {
		return fmt.Errorf("no group %q to load", n.cfg.loadGroup)
	}
	keys := n.keysOfPeers()
	if len(keys) < n.cfg.load {
		return fmt.Errorf("%d keys belong to peers, fewer than the %d asked for at a time", len(keys), n.cfg.load)
	}
	fmt.Fprintf(out, "ready %d\n", len(keys))
	for lines := bufio.NewScanner(in); lines.Scan() && stop.Err() == nil; {
		start := time.Now()
		failed := n.loadRound(group, keys)
		fmt.Fprintf(out, "%d %d %d\n", n.cfg.loadGets, failed, time.Since(start).Nanoseconds())
	}
	return nil
}

// loadRound asks for keys in turn, cfg.load at a time, and counts the failures.
func (n *node) loadRound(group *groupcache.Group, keys []string) int64 {
	var next, failed int64
	var workers sync.WaitGroup
	for i := 0; i < n.cfg.load; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for {
				turn := int(atomic.AddInt64(&next, 1)) - 1
				if turn >= n.cfg.loadGets {
					return
				}
				var view groupcache.ByteView
				key := keys[turn%len(keys)]
				err := group.Get(context.Background(), key, groupcache.ByteViewSink(&view))
				if err != nil {
					atomic.AddInt64(&failed, 1)
				}
			}
		}()
	}
	workers.Wait()
	return failed
}

// keysOfPeers are the keys of the loaded group that another node owns.
func (n *node) keysOfPeers() []string {
	var keys []string
	for _, key := range n.store.keys(n.cfg.loadGroup) {
		if _, remote := n.pool.PickPeer(key); remote {
			keys = append(keys, key)
		}
	}
	return keys
}
