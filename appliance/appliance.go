package appliance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"cryptoserve/hsm"
)

// ErrPIN means that the token refused the PIN. Starting again with the same PIN would use up another of its tries.
var ErrPIN = hsm.ErrPIN

// Version is the version of this build, set by the linker.
var Version = "development"

// Serve runs a node that exists until ctx ends. It writes the line "ready https://ADDR" to out once it answers; its log goes
// to the logger made by NewLog.
func Serve(ctx context.Context, config Config, out io.Writer, log *slog.Logger) (err error) {
	if err := config.Validate(); err != nil {
		return err
	}
	tuneGC()
	if err := forbidCoreDumps(); err != nil {
		return err
	}
	n := &node{config: config, log: log}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.lock(); err != nil {
		return err
	}
	if err := n.selfTest(); err != nil {
		return err
	}
	n.identity, err = readIdentity(config.DataDir, identityFile)
	if errors.Is(err, errUnprovisioned) {
		return fmt.Errorf("%s: %w; make one with 'cryptoserved dev --dir DIR' and serve it with the config.yaml written there, or join a "+
			"cluster with 'cryptoserved join --config FILE CODE'", config.DataDir, err)
	}
	if err != nil {
		return err
	}
	if err := n.open(ctx); err != nil {
		return err
	}
	return n.serve(ctx, func(addr net.Addr) error { return announce(out, addr) })
}

// open opens the parts of a node that has been provisioned.
func (n *node) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := n.openAudit(); err != nil {
		return err
	}
	if err := n.openToken(ctx); err != nil {
		return err
	}
	if err := n.token.Load(ctx); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if err := n.identity.checkToken(n.token.MasterKCV()); err != nil {
		return err
	}
	if err := n.openAuthority(); err != nil {
		return err
	}
	if err := n.openNetwork(); err != nil {
		return err
	}
	if err := n.openCluster(ctx); err != nil {
		return err
	}
	if err := n.openEngine(); err != nil {
		return err
	}
	if err := n.openCertificates(); err != nil {
		return err
	}
	return n.openSignIn(ctx)
}

func announce(out io.Writer, addr net.Addr) error {
	_, err := fmt.Fprintf(out, "ready https://%s\n", addr)
	return err
}
