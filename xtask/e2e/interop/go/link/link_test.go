package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"testing"
)

// page is where the protocol is described.
const page = "../../../../../crates/peer-http/src/protocol.md"

// conversation is what each side says on the page.
func conversation(t *testing.T) (asker, owner []byte) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var side *[]byte
	for _, line := range strings.Split(string(text), "\n") {
		columns := strings.Split(line, "│")
		if len(columns) < 3 {
			continue
		}
		switch strings.TrimSpace(columns[0]) {
		case "asker":
			side = &asker
		case "owner":
			side = &owner
		}
		bytes, err := hex.DecodeString(strings.ReplaceAll(columns[1], " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		*side = append(*side, bytes...)
	}
	return asker, owner
}

func TestThisClientSaysWhatTheAskerOnThePageSays(t *testing.T) {
	want, _ := conversation(t)
	got := hello{1, 1, 3, 0x0102030405060708, 0, 1_114_112, 1 << 20}.frame().appendTo(nil)
	got = getFrame(id{0, 1}, 5_000, "scores", "Jack").appendTo(got)
	got = getManyFrame([]id{{0, 2}, {1, 3}}, 5_000, "scores", []string{"Sam", "Nobody"}).appendTo(got)
	got = frame{kind: kindGoAway}.appendTo(got)
	if !bytes.Equal(got, want) {
		t.Fatalf("got\n%x, and not\n%x", got, want)
	}
}

func TestThisClientReadsWhatTheOwnerOnThePageSays(t *testing.T) {
	_, said := conversation(t)
	in := bytes.NewReader(said)
	read := func() frame {
		f, err := readFrame(in, maxFrame)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	h, err := parseHello(read())
	if want := (hello{1, 1, 3, 0x1112131415161718, 0, 1_114_112, 1 << 20}); err != nil || h != want {
		t.Fatalf("got %v, %v", h, err)
	}
	for _, want := range []frame{
		{kind: kindValue, id: first, payload: []byte("630")},
		{kind: kindLoading, id: id{0, 1}},
		{kind: kindValue, id: id{0, 1}, payload: []byte("589")},
		{kind: kindValue, id: id{0, 2}, payload: []byte("567")},
		{kind: kindRefusal, aux: notFound, id: id{1, 3}, payload: []byte("no such key")},
	} {
		got := read()
		if got.kind != want.kind || got.aux != want.aux || got.id != want.id || !bytes.Equal(got.payload, want.payload) {
			t.Fatalf("got %v, and not %v", got, want)
		}
	}
	if _, err := readFrame(in, maxFrame); err != io.EOF {
		t.Fatalf("there is more: %v", err)
	}
}

func TestAValueMayHaveSomethingBeforeIt(t *testing.T) {
	f := frame{kind: kindValue, flags: flagMinuteQPS, payload: []byte("8 bytes.630")}
	if value, err := valueOf(f); err != nil || string(value) != "630" {
		t.Errorf("got %q, %v", value, err)
	}
	f.flags |= flagTimes
	f.payload = []byte("8 bytes.twelve more.630")
	if value, err := valueOf(f); err != nil || string(value) != "630" {
		t.Errorf("got %q, %v", value, err)
	}
	f.flags, f.payload = 0x0f, []byte("8 bytes.630")
	if value, err := valueOf(f); err != nil || string(value) != "8 bytes.630" {
		t.Errorf("got %q, %v", value, err)
	}
	for _, bad := range []frame{{flags: 0x40}, {flags: flagTimes}, {flags: flagMinuteQPS, payload: []byte("7 bytes")}} {
		if value, err := valueOf(bad); err == nil {
			t.Errorf("%v gives %q", bad, value)
		}
	}
}

func TestNoRoomIsMadeForAFrameThatIsTooLong(t *testing.T) {
	header := frame{kind: kindValue}.appendTo(nil)
	copy(header, "\xff\xff\xff\xff")
	if _, err := readFrame(bytes.NewReader(header), maxFrame); err == nil {
		t.Fatal("it was taken")
	}
}

func TestPathsHaveNoPlus(t *testing.T) {
	if got := pathOf("my group/1", "a b+é"); got != "/_groupcache/my%20group%2F1/a%20b%2B%C3%A9" {
		t.Fatal(got)
	}
}
