package cluster

import (
	"errors"
	"fmt"
	"io"

	"cryptoserve/engine/lp"
	"cryptoserve/engine/seal"
)

// A sealed stream is
//
//	magic(8) = "cssnap" 0 version(1) || a stream of frames, as package seal says
//
// whose associated data is lp("cryptoserve/snapshot/1") lp(cluster id): a stream of another cluster does not open.
const (
	streamMagic   = "cssnap\x00\x01"
	streamIDBytes = seal.StreamIDBytes
	// A frame holds about frameBytes and never more than one record above it.
	frameBytes = 64 << 10
)

type frameKey struct {
	key     *seal.Key
	cluster string
}

func (k frameKey) associated() []byte {
	return lp.Append(lp.Append(nil, "cryptoserve/snapshot/1"), k.cluster)
}

func newFrameWriter(w io.Writer, key frameKey) (*seal.FrameWriter, error) {
	if _, err := io.WriteString(w, streamMagic); err != nil {
		return nil, err
	}
	return seal.NewFrameWriter(w, key.key, key.associated())
}

func newFrameReader(r io.Reader, key frameKey) (*seal.FrameReader, error) {
	head := make([]byte, len(streamMagic))
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("its beginning cannot be read: %w", err)
	}
	if string(head[:len(streamMagic)-1]) != streamMagic[:len(streamMagic)-1] {
		return nil, errors.New("it does not begin as a snapshot")
	}
	if v := head[len(streamMagic)-1]; v != streamMagic[len(streamMagic)-1] {
		return nil, fmt.Errorf("its format is version %d, which this program does not know", v)
	}
	return seal.NewFrameReader(r, key.key, key.associated())
}
