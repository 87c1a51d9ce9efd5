/** The front page: which address shows what. */
import { Card, CardActionArea, CardContent, Typography } from "@mui/material";
import { useEffect } from "react";
import { Frame } from "./frame.tsx";
import pages from "./pages.json";

/** Where a page is: on this server, or at a port beside it. */
const address = ({ path, port }: { path?: string; port?: number }): string =>
  path ?? `${location.protocol}//${location.hostname}:${port}/`;

export function Start() {
  useEffect(() => {
    document.title = "Logging platform";
  }, []);
  return (
    <Frame>
      <main style={{ padding: "1em", maxWidth: "48em" }}>
        <Typography variant="h1" sx={{ fontSize: "1.5rem", mb: 2 }}>
          Logging platform
        </Typography>
        <ul style={{ listStyle: "none", padding: 0, margin: 0, display: "grid", gap: "1em" }}>
          {pages.map((page) => (
            <li key={page.title}>
              <Card variant="outlined">
                <CardActionArea href={address(page)}>
                  <CardContent>
                    <Typography variant="h2" sx={{ fontSize: "1.1rem" }}>
                      {page.title}
                    </Typography>
                    <Typography color="text.secondary">{page.shows}</Typography>
                  </CardContent>
                </CardActionArea>
              </Card>
            </li>
          ))}
        </ul>
      </main>
    </Frame>
  );
}
