package stream_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"cryptoserve/engine/stream"
)

// A stream is written from any reader and opened again, whole or a range of it.
func Example() {
	key := bytes.Repeat([]byte{7}, stream.KeyBytes) // in earnest: derived for this stream
	associated := []byte("what the data belongs to")

	var sealed bytes.Buffer
	w, err := stream.NewWriter(&sealed, key, associated)
	if err != nil {
		panic(err)
	}
	if _, err := w.ReadFrom(strings.NewReader("a large file, say")); err != nil {
		panic(err) // without Close: the stream stays cut
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	fmt.Println(sealed.Len() == int(stream.CiphertextLength(17)))

	file, size := bytes.NewReader(sealed.Bytes()), int64(sealed.Len())
	part, err := stream.NewRangeReaderAt(file, size, key, associated, 2, 7)
	if err != nil {
		panic(err)
	}
	if _, err := part.WriteTo(os.Stdout); err != nil {
		panic(err)
	}
	fmt.Println()

	whole, err := stream.NewReader(&sealed, key, associated)
	if err != nil {
		panic(err)
	}
	text, err := io.ReadAll(whole)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
	// Output:
	// true
	// large
	// a large file, say
}
