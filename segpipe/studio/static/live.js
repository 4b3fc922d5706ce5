// Keeps #live as the server has it: a run that comes further is an event, and the page is asked
// again. One question at a time, and another when something happened meanwhile.

const EVENTS = "/api/runs/events";
let isAsking = false;
let isOld = false;

async function refresh() {
  if (isAsking) {
    isOld = true;
    return;
  }
  isAsking = true;
  const place = location.pathname + location.search;
  try {
    do {
      isOld = false;
      await htmx.ajax("GET", place, { target: "#live", select: "#live", swap: "outerHTML" });
    } while (isOld);
  } finally {
    isAsking = false;
  }
}

function listen() {
  const source = new EventSource(EVENTS);
  source.addEventListener("progress", refresh);
  source.addEventListener("final", () => {
    source.close();
    setTimeout(listen, 1000);
  });
}

listen();
