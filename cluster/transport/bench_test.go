package transport

import (
	"context"
	"fmt"
	"testing"
)

func BenchmarkCall(b *testing.B) {
	w := newWorld(b)
	from, to := w.node("node_a"), w.node("node_b")
	to.Handle(func(_ context.Context, _, _ string, request []byte) ([]byte, error) { return request, nil })
	for _, size := range []int{256, 64 << 10, MaxMessageBytes} {
		request := make([]byte, size)
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			b.SetBytes(int64(2 * size))
			for b.Loop() {
				if _, err := from.Call(b.Context(), to.peer, "m", request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("256B, 64 together", func(b *testing.B) {
		request := make([]byte, 256)
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := from.Call(b.Context(), to.peer, "m", request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkConnect is a new connection, with both ends' part of the handshake and the welcome.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	from, to := w.node("node_a"), w.node("node_b")
	for b.Loop() {
		c, err := from.connect(b.Context(), to.peer, protoNode)
		if err != nil {
			b.Fatal(err)
		}
		_ = c.Close()
	}
}
