package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func storeOf(t *testing.T, text string) (*store, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return openStore(path, 0)
}

func TestAnyByteStandsInAnyField(t *testing.T) {
	s, err := storeOf(t, `"my group/1"	"tab\x09nl\x0anul\x00bad\xff"	"\xe6\xb1\x89 \"q\" \\"`+"\n")
	if err != nil {
		t.Fatal(err)
	}
	value, err := s.find("my group/1", "tab\tnl\nnul\x00bad\xff")
	if err != nil || string(value) != "汉 \"q\" \\" {
		t.Fatalf("got %q, %v", value, err)
	}
	if _, err := s.find("my group/1", "tab"); !errors.Is(err, errNoSuchKey) {
		t.Fatalf("a missing key gives %v", err)
	}
	if s.queries != 2 {
		t.Fatalf("%d queries were counted, not 2", s.queries)
	}
}

func TestMalformedLinesAreRefused(t *testing.T) {
	for _, text := range []string{"Tom 630\n", "\"a\"\t\"b\"\n", "\"a\"\t\"b\"\tc\n", "\n"} {
		if _, err := storeOf(t, text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestSizesHaveUnits(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "4096": 4096, "3KiB": 3 << 10, "64MiB": 64 << 20} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%q gives %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "64MB", "1.5GiB"} {
		if got, err := parseBytes(text); err == nil {
			t.Errorf("%q gives %d", text, got)
		}
	}
}
