package hsm

import (
	"context"
	"fmt"
	"io"

	"cryptoserve/engine/fault"
)

const (
	// maxRandom is the most bytes that Random gives at once.
	maxRandom = 1 << 20
	// randomChunk is the most bytes asked of the token in one call: a number that every token serves.
	randomChunk = 1024
)

// Random returns n bytes, 0 to 1 MiB, of the token's random generator (C_GenerateRandom). fault.Malformed when n is out
// of range, fault.HSMUnavailable when the token cannot be used now.
func (t *Token) Random(ctx context.Context, n int) ([]byte, error) {
	const op = "hsm.Random"
	if n < 0 || n > maxRandom {
		return nil, fault.New(fault.Malformed, op, "the length is not between 0 and 1048576 bytes")
	}
	out := make([]byte, 0, n)
	err := t.do(ctx, op, func(s *session) error {
		out = out[:0]
		for len(out) < n {
			want := min(randomChunk, n-len(out))
			b, err := t.module.GenerateRandom(s.handle, want)
			if err != nil {
				return err
			}
			if len(b) != want {
				return fmt.Errorf("the token gave %d random bytes, not %d", len(b), want)
			}
			out = append(out, b...)
			clear(b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Reader returns the token's random generator as a stream. Each Read is one Random with this context.
func (t *Token) Reader(ctx context.Context) io.Reader { return &reader{ctx, t} }

type reader struct {
	ctx context.Context
	t   *Token
}

func (r *reader) Read(p []byte) (int, error) {
	b, err := r.t.Random(r.ctx, min(len(p), maxRandom))
	return copy(p, b), err
}
