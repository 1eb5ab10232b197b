package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestCatalogSettings(t *testing.T) {
	const key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
	for name, tt := range map[string]struct {
		env   map[string]string
		yaml  string
		wrong string
		want  catalogConfig
	}{
		"none": {nil, "", "", catalogConfig{CatalogSyncInterval: 10 * time.Minute, CatalogShowNewest: 20}},
		"by the environment": {map[string]string{"CHT_BACKUP_CATALOG_URL": "s3://b/p?region=eu-west-1"}, "", "",
			catalogConfig{CatalogURL: "s3://b/p?region=eu-west-1", CatalogSyncInterval: 10 * time.Minute, CatalogShowNewest: 20}},
		"by a file": {nil, "catalog-url: file:///c\ncatalog-recipients: [" + key + "]\ncatalog-sync-interval: 1m\ncatalog-show-newest: 3", "",
			catalogConfig{CatalogURL: "file:///c", CatalogRecipients: []string{key}, CatalogSyncInterval: time.Minute, CatalogShowNewest: 3}},
		"credentials":    {map[string]string{"CHT_BACKUP_CATALOG_URL": "s3://AKIAX:hunter2@b/p"}, "", "credentials", catalogConfig{}},
		"memory":         {nil, "catalog-url: mem://", "mem", catalogConfig{}},
		"an identity":    {nil, "catalog-url: file:///c\ncatalog-recipients: [AGE-SECRET-KEY-1QQQQ]", "public half", catalogConfig{}},
		"no key":         {nil, "catalog-url: file:///c\ncatalog-recipients: [age1x]", "no public key", catalogConfig{}},
		"too often":      {nil, "catalog-url: file:///c\ncatalog-sync-interval: 1s", "at least 10s", catalogConfig{}},
		"none are shown": {nil, "catalog-url: file:///c\ncatalog-show-newest: 0", "1 to 1000", catalogConfig{}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			catalogFlags(flags)
			v := settings()
			v.SetConfigType("yaml")
			var c config
			if err := v.BindPFlags(flags); err != nil {
				t.Fatal(err)
			}
			if err := v.ReadConfig(strings.NewReader(tt.yaml)); err != nil {
				t.Fatal(err)
			}
			if err := v.Unmarshal(&c); err != nil {
				t.Fatal(err)
			}
			err := c.catalogConfig.check()
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "QQQQ") {
					t.Errorf("got %v", err)
				}
				return
			}
			got := c.catalogConfig
			if err != nil || !slices.Equal(got.CatalogRecipients, tt.want.CatalogRecipients) || got.CatalogURL != tt.want.CatalogURL ||
				got.CatalogSyncInterval != tt.want.CatalogSyncInterval || got.CatalogShowNewest != tt.want.CatalogShowNewest {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
