package transport

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"
)

// FuzzFrame reads frames and their contents from anything. What is read and can be written again comes out the same.
func FuzzFrame(f *testing.F) {
	seeds := [][]byte{
		append(requestHead(7, 1500*time.Millisecond, "propose", 3), "abc"...),
		append(answerHead(8, clock{wall: time.Unix(1, 2), taken: 3}, 2), "xy"...),
		refusalFrame(9, clock{wall: time.Unix(1, 2)}, &RemoteError{Code: "conflict", Detail: "why"}),
		appendHead(nil, kindCancel, 10, 0),
		appendHead(nil, kindPing, 0, 0),
		clock{wall: time.Unix(5, 0)}.append(appendHead(nil, kindPong, 0, clockBytes)),
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		rest := data
		for {
			got, err := readFrame(r)
			if err != nil {
				return
			}
			n := frameHeadBytes + len(got.body)
			if again := append(appendHead(nil, got.kind, got.id, len(got.body)), got.body...); !bytes.Equal(again, rest[:n]) {
				t.Fatalf("% x became % x", rest[:n], again)
			}
			rest = rest[n:]
			switch got.kind {
			case kindRequest:
				limit, method, payload, err := parseRequest(got.body)
				if err != nil || limit > 1<<31*time.Millisecond {
					continue
				}
				if again := append(requestHead(got.id, limit, method, len(payload)), payload...); !bytes.Equal(again[frameHeadBytes:], got.body) {
					t.Fatalf("request % x became % x", got.body, again)
				}
			case kindAnswer, kindPong, kindRefusal:
				c, body, err := parseClock(got.body)
				if err != nil || c.taken < 0 {
					continue
				}
				if e, err := parseRefusal(body); got.kind == kindRefusal && err == nil && len(e.Detail) <= maxDetailBytes {
					if again := refusalFrame(got.id, c, e); !bytes.Equal(again[frameHeadBytes:], got.body) {
						t.Fatalf("refusal % x became % x", got.body, again)
					}
				}
			}
		}
	})
}

func TestPeer(t *testing.T) {
	for _, s := range []string{"node_1@host:8444", "n@[::1]:1"} {
		if p, err := ParsePeer(s); err != nil || p.String() != s {
			t.Errorf("%s: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "host:8444", "@host:8444", "node_1@", "a/b@host:1", strings.Repeat("n", maxNodeIDBytes+1) + "@host:1"} {
		if p, err := ParsePeer(s); err == nil {
			t.Errorf("%q is accepted as %v", s, p)
		}
	}
}
