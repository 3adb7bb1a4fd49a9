package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// errNoSuchKey is the store's answer for a key that it does not hold.
var errNoSuchKey = errors.New("no such key")

// store is the database behind the getters: the lines of a text file.
type store struct {
	slow    time.Duration
	queries int64 // atomic
	values  map[string]map[string][]byte
}

// openStore reads a file of `"group"\t"key"\t"value"` lines. Each field is a
// string literal of Go, so that any byte can stand in any field on one line.
func openStore(path string, slow time.Duration) (*store, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s := &store{slow: slow, values: make(map[string]map[string][]byte)}
	// Not a Scanner: a value of many megabytes is one line here.
	lines := bufio.NewReader(file)
	for number := 1; ; number++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF && line == "" {
			return s, nil
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		if err := s.addLine(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
}

func (s *store) addLine(line string) error {
	fields := strings.Split(line, "\t")
	if len(fields) != 3 {
		return fmt.Errorf("%d fields where \"group\", \"key\" and \"value\" were expected", len(fields))
	}
	for i := range fields {
		text, err := strconv.Unquote(fields[i])
		if err != nil {
			return fmt.Errorf("field %d is no quoted string", i+1)
		}
		fields[i] = text
	}
	group := s.values[fields[0]]
	if group == nil {
		group = make(map[string][]byte)
		s.values[fields[0]] = group
	}
	group[fields[1]] = []byte(fields[2])
	return nil
}

// find is one query: it counts, and takes as long as --slow-db says.
func (s *store) find(group, key string) ([]byte, error) {
	atomic.AddInt64(&s.queries, 1)
	time.Sleep(s.slow)
	value, ok := s.values[group][key]
	if !ok {
		return nil, errNoSuchKey
	}
	return value, nil
}

// groups are the names in the file, sorted.
func (s *store) groups() []string {
	names := make([]string, 0, len(s.values))
	for name := range s.values {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// keys are the keys of group, sorted.
func (s *store) keys(group string) []string {
	keys := make([]string, 0, len(s.values[group]))
	for key := range s.values[group] {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
