package mac

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"

	prf "github.com/tink-crypto/tink-go/v2/prf/subtle"
)

// cmac is AES-CMAC of a message that arrives in parts, as the package comment derives it.
type cmac struct {
	last  *prf.AESCMACPRF
	chain cipher.BlockMode // CBC from a zero block over everything before tail
	state [aes.BlockSize]byte
	// tail holds the end of the message: all of it up to two blocks, then always more than one block.
	tail [2 * aes.BlockSize]byte
	n    int
	// scratch takes CBC's output, of which only the last block counts. Short messages need none.
	scratch []byte
}

func startCMAC(key, _ []byte, _ int) (computation, error) {
	last, err := prf.NewAESCMACPRF(key)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	c := &cmac{last: last}
	c.chain = cipher.NewCBCEncrypter(block, c.state[:]) // zeros: SP 800-38B section 6.2
	return c, nil
}

func (c *cmac) write(p []byte) {
	for len(p) > 0 {
		if c.n == len(c.tail) {
			c.encrypt(c.tail[:aes.BlockSize])
			copy(c.tail[:], c.tail[aes.BlockSize:])
			c.n -= aes.BlockSize
		}
		// With one whole block in the tail, blocks of p take the same way in bulk, so long as two stay behind.
		if c.n == aes.BlockSize && len(p) > 2*aes.BlockSize {
			c.encrypt(c.tail[:aes.BlockSize])
			bulk := (len(p) - aes.BlockSize - 1) / aes.BlockSize * aes.BlockSize
			c.encrypt(p[:bulk])
			c.n, p = 0, p[bulk:]
		}
		k := copy(c.tail[c.n:], p)
		c.n += k
		p = p[k:]
	}
}

// encrypt runs the chain over whole blocks.
func (c *cmac) encrypt(blocks []byte) {
	if c.scratch == nil {
		c.scratch = make([]byte, 64*aes.BlockSize)
	}
	for len(blocks) > 0 {
		k := min(len(blocks), len(c.scratch))
		c.chain.CryptBlocks(c.scratch[:k], blocks[:k])
		copy(c.state[:], c.scratch[k-aes.BlockSize:k])
		blocks = blocks[k:]
	}
}

func (c *cmac) sum() []byte {
	// Before the first step of the chain the state is zero and the tail is the whole message.
	subtle.XORBytes(c.tail[:aes.BlockSize], c.tail[:aes.BlockSize], c.state[:])
	tag, _ := c.last.ComputePRF(c.tail[:c.n], aes.BlockSize) // fails for more than a block of output only
	return tag
}
