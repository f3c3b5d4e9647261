package appliance

import (
	"context"
	"io"

	"cryptoserve/hsm"
)

// ProbeToken writes what the token of a config can do to out, as text. It logs in once and changes nothing.
func ProbeToken(ctx context.Context, config Config, out io.Writer) error {
	module, store, err := config.HSM.module()
	if err != nil {
		return err
	}
	pin, err := readPIN(config.HSM.PINFile)
	if err != nil {
		return err
	}
	defer pin.Destroy()
	c := hsm.Config{Module: module, TokenLabel: config.HSM.TokenLabel, PIN: pin, Sessions: config.HSM.Sessions}
	if store != nil {
		c.AfterLogin = store.Sync
	}
	report, err := hsm.Probe(ctx, c)
	if err != nil {
		return err
	}
	_, err = report.WriteTo(out)
	return err
}
