/** A proxy in front of a registry that refuses a tag that is there, as registries with immutable tags do. */
import { createServer, request } from "node:http";

const [, , port, upstream] = process.argv;
const immutable = JSON.stringify({
  errors: [{ code: "TAG_INVALID", message: "the tag exists, and this repository's tags are immutable" }],
});

createServer((incoming, answer) => {
  const { method, url = "", headers } = incoming;
  const forward = (): void => {
    const onward = request({ port: upstream, method, path: url, headers }, (said) => {
      answer.writeHead(said.statusCode ?? 502, said.headers);
      said.pipe(answer);
    });
    onward.on("error", (error) => answer.writeHead(502).end(error.message));
    incoming.pipe(onward);
  };
  const tagged = method === "PUT" && /\/manifests\/(?!sha256:)/.test(url);
  if (!tagged) return forward();
  const { authorization } = headers;
  const accept =
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json";
  const look = {
    port: upstream,
    method: "HEAD",
    path: url,
    headers: { accept, ...(authorization && { authorization }) },
  };
  request(look, ({ statusCode }) => {
    if (statusCode !== 200) return forward();
    incoming.resume();
    console.log(`refused ${url}`);
    answer.writeHead(400, { "content-type": "application/json" }).end(immutable);
  }).end();
}).listen(Number(port), "127.0.0.1", () => console.log("listening"));
