import static com.google.common.base.Preconditions.checkState;
import static java.nio.charset.StandardCharsets.UTF_8;
import com.google.common.hash.*;
import com.google.common.primitives.Bytes;
import com.google.gson.*;
import goodstrace.log.v1.Log.*;
import goodstrace.query.v1.Trace.*;
import io.grpc.*;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.*;
import java.nio.file.*;
import java.security.*;
import java.time.*;
import java.util.*;
import java.util.stream.*;

/** Traces goods by gRPC, believes nothing that is not proved, and prints them level by level. See docs/clients.md. */
final class Client {
    private static final MethodDescriptor<TraceRequest, TraceResponse> TRACE = MethodDescriptor
        .newBuilder(ProtoUtils.marshaller(TraceRequest.getDefaultInstance()), ProtoUtils.marshaller(TraceResponse.getDefaultInstance()))
        .setType(MethodDescriptor.MethodType.UNARY).setFullMethodName("goodstrace.query.v1.TraceService/Trace").build();
    private static final Gson JSON = new GsonBuilder().disableHtmlEscaping().create();
    private record Entry(String kind, long merchant, List<Map<String, String>> parts) {}
    private record Facts(String event_id, String event_hash, long time_us, String type, String action, String step, Map<String, Object> correction) {}

    /** VKEYS HOST:PORT KEY, or VKEYS ANSWER; VKEYS is a file of trusted keys, ANSWER one of a TraceResponse. */
    public static void main(String[] arguments) throws Exception {
        try {
            Map<String, PublicKey> keys = new HashMap<>();
            for (String vkey : Files.readAllLines(Path.of(arguments[0]))) addKey(keys, vkey);
            TraceResponse answer = arguments.length > 2 ? trace(arguments[1], arguments[2])
                : TraceResponse.parseFrom(Files.readAllBytes(Path.of(arguments[1])));
            System.out.writeBytes(show(answer, keys).getBytes(UTF_8));
        } catch (RuntimeException refused) {
            System.err.println("refused: " + refused.getMessage());
            System.exit(1);
        }
    }

    /** Asks for a trace page by page; all pages are of the same checkpoints. */
    private static TraceResponse trace(String target, String key) {
        var headers = new Metadata();
        headers.put(Metadata.Key.of("goodstrace-user", Metadata.ASCII_STRING_MARSHALLER), "example-java");
        String shown = System.getenv().getOrDefault("GOODSTRACE_API_KEY", "");
        if (!shown.isEmpty()) headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + shown);
        var named = MetadataUtils.newAttachHeadersInterceptor(headers);
        var channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create()).intercept(named).build();
        var whole = TraceResponse.newBuilder();
        do {
            var request = TraceRequest.newBuilder().setKey(key).setPurpose("an example").setPageToken(whole.getNextPageToken()).build();
            var options = CallOptions.DEFAULT.withDeadlineAfter(Duration.ofSeconds(30));
            whole.clearCheckpoints().clearNextPageToken().mergeFrom(ClientCalls.blockingUnaryCall(channel, TRACE, options, request));
        } while (!whole.getNextPageToken().isEmpty());
        channel.shutdownNow();
        return whole.build();
    }

    /** Verifies a whole answer and gives it as lines, level by level. */
    private static String show(TraceResponse answer, Map<String, PublicKey> keys) throws Exception {
        Map<String, String[]> trees = new LinkedHashMap<>();
        for (var each : answer.getCheckpointsList()) checkState(trees.put(each.getLog(), open(each, keys)) == null, "two checkpoints of a log");
        Map<String, String> events = new HashMap<>(), history = new HashMap<>();
        for (var event : answer.getEventsList()) {
            for (var sealed : Stream.concat(event.getAlsoAtList().stream(), Stream.of(event.getSealed())).toList())
                events.put(event.getIdentity(), verify(sealed, trees.get(sealed.getLog()), event.getIdentity()));
            for (var mention : event.getMentionsList()) history.merge(mention.getKey(), "  " + events.get(event.getIdentity()), String::concat);
        }
        checkState(events.size() == answer.getEventsCount() && events.size() == answer.getTotalEvents(), "an event is missing or shown twice");
        var text = new StringBuilder(answer.getKey() + "\n");
        for (var node : answer.getNodesList()) {
            String way = node.getDirection().name().replace("DIRECTION_", "").toLowerCase();
            text.append(String.join(" ", "level", "" + node.getLevel(), way, node.getRole(), node.getGrade(), node.getKey()) + "\n");
            for (var link : node.getLinksList())
                for (String identity : link.getIdentitiesList()) {
                    checkState(events.containsKey(identity), "a link of %s rests on an event that is not shown", node.getKey());
                    text.append("  " + link.getKind() + " of " + link.getKey() + " by " + events.get(identity));
                }
            text.append(history.getOrDefault(node.getKey(), ""));
        }
        trees.forEach((log, tree) -> text.append("proved under " + log + " of " + tree[1] + " entries\n"));
        return text.toString();
    }

    /** A vkey is {@code <name>+<key ID in hex>+<base64 of the type, 1, and the key>}. Source: C2SP signed-note. */
    private static void addKey(Map<String, PublicKey> keys, String vkey) throws Exception {
        String[] pieces = vkey.split("\\+", 3);
        byte[] typed = Base64.getDecoder().decode(pieces[2]);
        String id = sha256((pieces[0] + "\n").getBytes(UTF_8), typed).toString().substring(0, 8);
        checkState(typed.length == 33 && typed[0] == 1 && id.equals(pieces[1]), "not a vkey: %s", vkey);
        byte[] spki = Bytes.concat(HexFormat.of().parseHex("302a300506032b6570032100"), Arrays.copyOfRange(typed, 1, 33));
        keys.put(pieces[0] + "+" + id, KeyFactory.getInstance("Ed25519").generatePublic(new java.security.spec.X509EncodedKeySpec(spki)));
    }

    /** A checkpoint is a note: origin, size, root; empty line; signature lines. A trusted key, named after the log, must have signed it. */
    private static String[] open(Checkpoint checkpoint, Map<String, PublicKey> keys) throws Exception {
        String[] halves = checkpoint.getNote().split("\n\n", 2);
        String[] lines = halves[0].split("\n");
        boolean signed = false;
        for (String line : halves[1].split("\n")) {
            byte[] data = Base64.getDecoder().decode(line.substring(line.lastIndexOf(' ') + 1)); // key ID and signature
            PublicKey key = keys.get(lines[0] + "+" + HexFormat.of().formatHex(data, 0, 4));
            if (key == null || data.length != 68 || !line.startsWith("— " + lines[0] + " ")) continue;
            var signature = Signature.getInstance("Ed25519");
            signature.initVerify(key);
            signature.update((halves[0] + "\n").getBytes(UTF_8));
            signed |= signature.verify(data, 4, 64);
        }
        checkState(signed && lines.length == 3 && lines[0].endsWith("/" + checkpoint.getLog()), "no trusted key has signed it: %s", lines[0]);
        return lines;
    }

    /** Checks that an event's entry is in its log, and that the parts shown are those it commits to. Gives a line to print. */
    private static String verify(SealedEntry sealed, String[] tree, String identity) {
        checkState(tree != null, "no checkpoint of its log");
        byte[] root = root(sealed, sealed.getIndex(), Long.parseLong(tree[1]), sealed.getInclusionProofCount()).asBytes();
        checkState(Arrays.equals(root, Base64.getDecoder().decode(tree[2])), "the inclusion proof does not lead to the root");
        Entry entry = JSON.fromJson(sealed.getEntry().toStringUtf8(), Entry.class);
        checkState(entry.kind.equals("event"), "not the entry of an event");
        var commits = entry.parts.stream().collect(Collectors.toMap(part -> part.get("name"), part -> part.get("commit")));
        String line = "an event withheld";
        for (var part : sealed.getPartsList()) { // what is committed is removed, so that no part is shown twice
            byte[] head = Bytes.concat(new byte[] {2, (byte) part.getName().length()}, part.getName().getBytes(UTF_8));
            String commit = sha256(head, part.getSalt().toByteArray(), part.getContent().toByteArray()).toString();
            checkState(part.getSalt().size() == 32 && commit.equals(commits.remove(part.getName())), "not committed to: %s", part.getName());
            if (!part.getName().equals("facts")) continue;
            Facts facts = JSON.fromJson(part.getContent().toStringUtf8(), Facts.class);
            Object digest = facts.correction == null ? "" : facts.correction.get("digest");
            String names = JSON.toJson(List.of(entry.merchant, facts.event_id, facts.event_hash, digest));
            checkState(sha256(names.getBytes(UTF_8)).toString().equals(identity), "not the event %s", identity);
            String time = Instant.ofEpochSecond(Math.floorDiv(facts.time_us, 1_000_000L)).toString();
            line = Stream.of(time, facts.type, facts.action, facts.step, facts.event_id).filter(Objects::nonNull).collect(Collectors.joining(" "));
        }
        return line + " at " + sealed.getLog() + "[" + sealed.getIndex() + "]\n";
    }

    /** Gives the root that an entry and the first so many hashes of its proof lead to, in a tree of a size. Source: RFC 6962 section 2.1.1. */
    private static HashCode root(SealedEntry sealed, long index, long size, int hashes) {
        checkState(0 <= index && index < size && (size == 1) == (hashes == 0), "the inclusion proof is too long or too short");
        if (size == 1) return sha256(new byte[] {0}, sealed.getEntry().toByteArray());
        byte[] last = sealed.getInclusionProof(hashes - 1).toByteArray();
        long left = Long.highestOneBit(size - 1); // so many leaves are below the left child
        return index < left ? sha256(new byte[] {1}, root(sealed, index, left, hashes - 1).asBytes(), last)
            : sha256(new byte[] {1}, last, root(sealed, index - left, size - left, hashes - 1).asBytes());
    }

    private static HashCode sha256(byte[]... pieces) {
        return Hashing.sha256().hashBytes(Bytes.concat(pieces));
    }
}
