package joincode

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

func example() Code {
	return Code{
		Addresses:   []string{"192.0.2.1:8444", "node-2.example.com:8444", "[2001:db8::3]:8444"},
		Fingerprint: [32]byte(bytes.Repeat([]byte{1}, 32)), ClusterID: "cluster_0123456789abcdef",
		Secret: Secret(bytes.Repeat([]byte{2}, 32)),
	}
}

// golden is example, written once: codes that were handed out must be read by later programs.
const golden = "csj1_AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQAYY2x1c3Rlcl8wMTIzNDU2Nzg5YWJj" +
	"ZGVmAwAOMTkyLjAuMi4xOjg0NDQAF25vZGUtMi5leGFtcGxlLmNvbTo4NDQ0ABJbMjAwMTpkYjg6OjNdOjg0NDSh9pFJ"

func mustEncode(tb testing.TB, c Code) string {
	tb.Helper()
	text, err := c.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func TestCode(t *testing.T) {
	want := example()
	text := mustEncode(t, want)
	if text != golden {
		t.Errorf("the code is %s", text)
	}
	for _, typed := range []string{text, " " + text + "\n", text[:40] + "\r\n  " + text[40:]} {
		got, err := Parse(typed)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", typed, got, err)
		}
	}
}

// TestMistyped: each other character in any place, each cut and each exchange of two neighbours is told.
func TestMistyped(t *testing.T) {
	text := mustEncode(t, example())
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(text) {
		for _, l := range letters {
			if wrong := text[:i] + string(l) + text[i+1:]; wrong != text {
				if _, err := Parse(wrong); err == nil {
					t.Fatalf("place %d, %c: taken", i, l)
				}
			}
		}
		if _, err := Parse(text[:i]); err == nil {
			t.Fatalf("cut at %d: taken", i)
		}
		if i > 0 && text[i] != text[i-1] {
			if _, err := Parse(text[:i-1] + text[i:i+1] + text[i-1:i] + text[i+1:]); err == nil {
				t.Fatalf("exchanged at %d: taken", i)
			}
		}
	}
}

// encoded is a code with any content and a right checksum.
func encoded(b []byte) string {
	return Prefix + base64.RawURLEncoding.EncodeToString(append(bytes.Clone(b), checksum(b)...))
}

func TestBadCodes(t *testing.T) {
	good := example()
	payload := good.binary()
	payload = payload[:len(payload)-checksumBytes]
	for name, text := range map[string]string{
		"nothing": "", "prefix only": Prefix, "no prefix": golden[5:], "later version": "csj2_" + golden[5:], "padding": golden + "=",
		"standard base64": strings.ReplaceAll(golden, "_", "/"), "long": golden + strings.Repeat("A", 3000), "short": encoded([]byte{1}),
		"more behind": encoded(append(bytes.Clone(payload), 0)), "no addresses": encoded(append(bytes.Clone(payload[:90]), 0)),
		"cut in an address": encoded(bytes.Clone(payload[:len(payload)-1])), "a user's code": "cs_invite_0123",
	} {
		if _, err := Parse(text); err == nil || strings.Contains(err.Error(), "AgIC") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Code){
		"no address":     func(c *Code) { c.Addresses = nil },
		"four":           func(c *Code) { c.Addresses = []string{"a:1", "b:1", "c:1", "d:1"} },
		"no port":        func(c *Code) { c.Addresses = []string{"a"} },
		"no cluster":     func(c *Code) { c.ClusterID = "" },
		"a long cluster": func(c *Code) { c.ClusterID = strings.Repeat("c", 129) },
	} {
		c := example()
		change(&c)
		if _, err := c.Encode(); err == nil {
			t.Errorf("%s: written", name)
		}
		b := c.binary()
		if _, err := Parse(encoded(b[:len(b)-checksumBytes])); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// TestSecretsDoNotPrint, however they are printed.
func TestSecretsDoNotPrint(t *testing.T) {
	c := example()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "secret", c.Secret)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%v", &c), log.String()} {
		if strings.Contains(text, "2 2 2") || strings.Contains(text, "0x2, 0x2") || !strings.Contains(text, "secret of 32 bytes") {
			t.Errorf("it prints %s", text)
		}
	}
}

// FuzzParse: what is read is written as it was read.
func FuzzParse(f *testing.F) {
	f.Add(golden)
	f.Add(Prefix)
	f.Add(encoded([]byte{1}))
	c := example()
	c.Addresses = c.Addresses[:1]
	f.Add(mustEncode(f, c))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		if again := mustEncode(t, c); again != strings.Join(strings.Fields(text), "") {
			t.Fatalf("%q became %q", text, again)
		}
	})
}

// FuzzPayload reads contents behind a right checksum, so that the parser is reached.
func FuzzPayload(f *testing.F) {
	c := example()
	f.Add(c.binary())
	f.Add(make([]byte, 70))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := Parse(encoded(b)); err == nil {
			if again := c.binary(); !bytes.Equal(again[:len(again)-checksumBytes], b) {
				t.Fatalf("%x became %x", b, again)
			}
		}
	})
}
