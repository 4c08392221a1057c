package main

import (
	"fmt"
	"slices"
	"strings"

	"tapedeck/recorder"
)

// notes says, for people, what is unusual about a recording: paused, parts, incidents.
func notes(rec recorder.Recording) string {
	var all []string
	if rec.Paused() && !rec.Status.Ended() {
		all = append(all, "paused")
	}
	if n := len(rec.Earlier); n > 0 {
		all = append(all, fmt.Sprintf("%d parts", n+1))
	}
	if n := len(rec.Incidents); n > 0 {
		all = append(all, fmt.Sprintf("%s: %s", counted(n, "incident"), strings.Join(reasonsOf(rec.Incidents), ", ")))
	}
	return strings.Join(all, "; ")
}

// withNotes puts them behind a text.
func withNotes(text string, rec recorder.Recording) string {
	if n := notes(rec); n != "" {
		return strings.TrimSpace(text + " (" + n + ")")
	}
	return text
}

// reasonsOf gives each reason once.
func reasonsOf(incidents []recorder.Incident) []string {
	var all []string
	for _, i := range incidents {
		if !slices.Contains(all, string(i.Reason)) {
			all = append(all, string(i.Reason))
		}
	}
	return all
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
