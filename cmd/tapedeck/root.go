package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tapedeck/recorder"
)

// The exit codes of every verb.
const (
	exitOK     = 0
	exitFailed = 1 // it was tried and did not work
	exitUsage  = 2 // the command line, the configuration or a job is wrong
)

// app is what every verb needs: where to read and write, and the configuration.
type app struct {
	in       io.Reader
	out, err io.Writer
	config   Config
	path     string // of the configuration file
}

// usageError is a fault of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// silentError has been told already.
type silentError struct{ error }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, err: errOut}
	root := a.command()
	root.SetArgs(args[1:])
	root.SetOut(out)
	root.SetErr(errOut)
	return exitCode(root.ExecuteContext(context.Background()), errOut)
}

func exitCode(err error, errOut io.Writer) int {
	var usage usageError
	var silent silentError
	var faults recorder.Faults
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return exitFailed
	case errors.As(err, &faults):
		fmt.Fprintf(errOut, "tapedeck: %d thing(s) to mend:\n", len(faults))
		for _, f := range faults {
			fmt.Fprintf(errOut, "  %s\n", f)
		}
		return exitUsage
	}
	fmt.Fprintf(errOut, "tapedeck: %s\n", recorder.ScrubText(err.Error()))
	if errors.As(err, &usage) || recorder.CodeOf(err) == recorder.CodeInvalid || isCobraUsage(err) {
		return exitUsage
	}
	return exitFailed
}

// isCobraUsage recognises what cobra itself finds wrong; it has no type for it.
func isCobraUsage(err error) bool {
	return strings.HasPrefix(err.Error(), "unknown command")
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "tapedeck",
		Short:         "Record web pages and rooms: to files, S3 and live streams",
		Long:          rootHelp,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.load(cmd)
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVarP(&a.path, "config", "c", "", "configuration file (YAML); also TAPEDECK_CONFIG")
	root.PersistentFlags().String("log-level", "", "debug, info, warn or error (default info)")
	root.PersistentFlags().String("log-format", "", "console or json (default: console in a terminal)")
	root.AddCommand(
		a.recordCommand(), a.workerCommand(), a.serveCommand(), a.enqueueCommand(), a.stopCommand(), a.updateCommand(),
		a.pauseCommand(), a.resumeCommand(),
		a.listCommand(), a.watchCommand(), a.spoolCommand(), a.testTemplateCommand(), a.doctorCommand(), a.childCommand(),
	)
	return root
}

const rootHelp = `Tapedeck opens a web page in Chrome, waits for it to log START_RECORDING, and
records what a viewer would see and hear into files, S3 and live streams.

  tapedeck record https://example.com -o out.mp4 --duration 30s
  tapedeck worker --redis redis://localhost:6379
  tapedeck enqueue --url https://example.com --file talk.mp4

Settings come from a YAML file (--config), then TAPEDECK_* variables, then
flags. Exit codes: 0 done, 1 failed, 2 wrong usage or job.`

// argsExactly is cobra.ExactArgs with our exit code and the verb's own usage line.
func argsExactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usageError{fmt.Errorf("give %s: %s (you gave %d)", what, cmd.UseLine(), len(args))}
	}
}

// secretFlag gives a flag's value, or, for "@path", what the file holds: a
// stream key need not be on the command line at all.
func secretFlag(name, value string) (string, error) {
	path, ok := strings.CutPrefix(value, "@")
	if !ok {
		return value, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", usageError{fmt.Errorf("--%s @%s: cannot be read: %w", name, path, err)}
	}
	return strings.TrimSpace(string(data)), nil
}
