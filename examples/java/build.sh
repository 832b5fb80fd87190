#!/usr/bin/env bash
# Builds target/classes and target/jars. Needs a JDK 17 or later and Maven; the jars must be those of jars.sha256.
set -euo pipefail
cd "$(dirname "$0")"
mvn -q -B compile dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=target/jars
(cd target/jars && LC_ALL=C sha256sum -- *.jar) | diff jars.sha256 - || { echo "the jars are not those of jars.sha256" >&2; exit 1; }
