package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/medic/cht-backup/integration/hollow"
)

// address is that of the CouchDB pod of an instance: its own, on loopback.
func address(namespace string) string {
	i := number(namespace)
	return fmt.Sprintf("127.200.%d.%d", i/250, i%250+1)
}

// startCouch starts one CouchDB for all instances.
func (f *fleet) startCouch(ctx context.Context, dir string) error {
	var addresses []string
	for i := range f.o.largest() {
		addresses = append(addresses, address(instance(i)))
	}
	couch, err := hollow.StartCouch(ctx, filepath.Join(dir, "couchdb"), addresses)
	if err != nil {
		return err
	}
	f.ends = append(f.ends, couch.Stop)
	f.user, f.password = couch.User, couch.Password
	return nil
}
