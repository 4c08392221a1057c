package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
)

func TestHideArgs(t *testing.T) {
	for given, shown := range map[string]string{
		"enqueue --token sesame --id a":          "enqueue --token ****** --id a",
		"enqueue --token=sesame":                 "enqueue --token=******",
		"enqueue --token @file --token=@file":    "enqueue --token @file --token=@file",
		"update a --add-rtmp key --id b":         "update a --add-rtmp *** --id b",
		"worker --redis=rediss://u:p@h":          "worker --redis=**************",
		"worker --redis host:6379":               "worker --redis *********",
		"record https://h/?a=b -o x.mp4":         "record https://****** -o x.mp4",
		"record --s3-endpoint=https://u:p@h":     "record --s3-endpoint=https://*****",
		"record h --upload-url https://h/?sig=s": "record h --upload-url ****************",
	} {
		t.Run(given, func(t *testing.T) {
			args := []string{"tapedeck"}
			for _, arg := range strings.Fields(given) {
				args = append(args, strings.Clone(arg)) // memory that may be written
			}
			copies := hideArgs(args)
			assert.Equal(t, "tapedeck "+given, strings.Join(copies, " "))
			assert.Equal(t, "tapedeck "+shown, strings.Join(args, " "))
		})
	}
}

// Every flag that takes @file is one whose value is hidden.
func TestSecretFlagsAreKnown(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if strings.Contains(f.Usage, "@file") {
				assert.Contains(t, secretFlags(), f.Name, cmd.CommandPath())
			}
		})
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).command())
}
