import { LogLevel, setLogLevel } from 'livekit-client';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { Markers } from './markers';
import { Fault, parseParams, type Params } from './params';
import { Session } from './session';
import './style.css';

// The console is the recorder's: markers, and what somebody has to act on.
setLogLevel(LogLevel.silent);

const markers = new Markers();
const params = read();
if (params) {
  const session = new Session(params, markers);
  createRoot(document.getElementById('stage')!).render(<App params={params} markers={markers} session={session} />);
  void session.open();
}

function read(): Params | undefined {
  try {
    return parseParams(location.search);
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    markers.fail(cause.message);
    return undefined;
  }
}
