package appliance

import (
	"context"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/directory"
	"cryptoserve/hsm"
)

// keyGiver is the token as the engine's KeyGiver.
type keyGiver struct{ node *node }

// TransferKeys has the token wrap the cluster's keys for a joining node. The security officer's short session, which makes the
// token trust the join key, runs in a process of its own.
func (g keyGiver) TransferKeys(ctx context.Context, joinKey []byte, hash algs.Name) (directory.KeyTransfer, error) {
	t, err := g.node.token.TransferKeys(ctx, joinKey, hash, func(ctx context.Context, label string) error {
		return TrustKey(ctx, "/proc/self/exe", g.node.config.HSM, label, hsm.JoinFingerprint(joinKey))
	})
	if err != nil {
		return directory.KeyTransfer{}, err
	}
	return directory.KeyTransfer{
		Master: t.Master, WrapPrivate: t.WrapPrivate, WrapSecret: t.WrapSecret, Check: checkValues(t.KeyCheckValues), OAEP: string(t.OAEPHash),
	}, nil
}

// KeyCheckValues tells which keys the token has.
func (g keyGiver) KeyCheckValues() directory.KeyCheckValues {
	return checkValues(g.node.token.KeyCheckValues())
}
