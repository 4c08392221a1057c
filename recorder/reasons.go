package recorder

// EndReasons lists every end reason, for whoever has to bound or to translate them.
func EndReasons() []EndReason {
	return []EndReason{
		EndSignal, EndRoomClosed, EndRoomEmpty, EndRemoved, EndConnectionLost, EndStopped, EndMaxDuration, EndMaxSize, EndDiskFull,
		EndStartFailed, EndPageCrashed, EndPageClosed, EndSessionDied, EndBrowserDied, EndDisplayDied, EndSoundDied, EndPipeline,
		EndStreamsFailed, EndDrained, EndChildDied, EndWorkerLost, EndLeaseLost, EndInvalid, EndTooManyTries,
	}
}
