"""Kinds of nouns that the parser has to know apart; every other noun is simply a thing."""

from __future__ import annotations

from t2i_spatial.prompts.words import word_set

GROUPS = word_set(
    "group bunch herd flock pile stack row set collection crowd number variety lot lots pack "
    "school swarm cluster handful array series line heap team family couple pair dozen arrangement "
    "assortment selection bundle mound trio duo quartet batch gang gaggle colony litter pride "
    "murder fleet string cascade bevy host plethora multitude range mass hundreds thousands dozens "
    "tons loads plenty lines rows groups piles stacks bunches sets pairs couples clusters types "
    "kinds kind type sort sorts mixture mix medley pool sea bit amount quantity majority rest "
    "parade procession patch tower"
)
"""Group nouns: "a GROUP of N" asks for Ns, how many is open (a couple or pair: two)."""
REAL_GROUPS = word_set("line string set bit pool sea tower patch type kind sort range host rest")
"""Of these only "... of" in front of a plural or another determiner is a group."""

CONTAINERS = word_set(
    "glass cup bowl bottle plate vase basket box can jar mug pot bag tray bucket carton pitcher "
    "sack tub tube packet crate barrel dish pan tank jug kettle teapot flask goblet tin case chest "
    "cart wagon truckload platter saucer tumbler pail cauldron wheelbarrow"
)
""" "A CONTAINER of N" is a container, with N in it."""
MEASURES = word_set(
    "slice piece loaf block sheet roll bar pack chunk wedge scoop lump drop stick clump tuft "
    "bouquet strip puff blade ball pint gallon quart spoonful plume burst streak ray rays"
)
""" "A MEASURE of N" is one thing of that whole name."""
WHOLE_NAMES = word_set("body statue chest bird cup lily bill")

SCENE_NOUNS = word_set(
    "photo photograph image picture painting drawing sketch illustration rendering render shot "
    "closeup close-up portrait snapshot watercolor watercolour cartoon scene view depiction "
    "artwork print poster rendition composition panorama vista landscape portrayal representation "
    "art collage mural diagram graphic cover advertisement ad scenery still-life masterpiece "
    "wallpaper meme screenshot selfie infographic concept animation comic clipart photography "
    "mosaic emoji icon logo design sticker visualization mockup"
)
"""What kind of picture it is: in front of "of", "showing", or alone behind a full stop."""
THE_PICTURE = word_set(
    "image picture photo photograph frame scene canvas shot composition view illustration artwork"
)

NOT_THINGS = word_set(
    "lunch dinner breakfast brunch supper "
    "surface surfaces "
    # the picture and its style
    "view image picture photo photograph scene frame shot composition style detail details focus "
    "closeup close-up perspective angle foreground background backdrop distance setting lighting "
    "resolution quality photography bokeh render rendering illustration art artwork aesthetic mode "
    "impression depiction depth field-of-view exposure camera-angle masterpiece hd rendition "
    # places in it
    "front back top bottom side middle center centre corner left right edge end half part area "
    "position place spot location direction way rest other others another one ones each both "
    "everything nothing something anything everyone someone nobody somebody somewhere anywhere "
    "nowhere sides ends parts vicinity proximity placement arrangement alignment order distance "
    "space midair mid-air air midst presence height level "
    # time, weather, light
    "wind rain sunlight sunshine daylight moonlight darkness dark shade night day daytime morning "
    "evening afternoon time spring summer autumn winter sunset sunrise dawn dusk twilight noon "
    "midnight nighttime weather season glow light shine brightness illumination hour moment "
    "instant year era age century minute second today weekend lunchtime dinnertime hue hues "
    # what it is like
    "color colour colors colours shape size texture contrast motion flight detail fashion manner "
    "beauty elegance simplicity charm warmth coldness atmosphere mood ambiance ambience feeling "
    "feel sense touch hint attention appearance look looks form formation pattern design effect "
    "harmony unison balance silence peace joy happiness sadness love fear anger surprise delight "
    "curiosity wonder awe mystery magic energy power strength speed movement action activity "
    "tranquility serenity solitude nature reality life death history story tale narrative theme "
    "idea thought thoughts memory dream dreams emotion focus interest attraction display variety "
    "quality condition state situation use purpose function role relation relationship "
    "conversation discussion talk chat fun game match race meeting party picnic event celebration "
    "ceremony show performance competition play practice training work job task effort process "
    "stance pose posture gesture expression gaze stare smile grin laughter breath voice sound "
    "noise music song smell scent aroma taste flavor sale service care help attempt rhythm comfort "
    "luxury freedom innocence nostalgia whimsy grace splendor grandeur vibrance vibrancy "
    "contemplation anticipation excitement chaos calm calmness stillness reflection reflections "
    "shadow shadows symmetry geometry material surroundings environment world universe finish "
    "sheen shine sparkle blend layer layers type kind sort example version variation collection "
    "opposite comparison addition contact row traffic lots lot pair dozen "
    "number amount anything kinds sorts types fact reason result cause person's journey "
    "destination adventure visit trip vacation holiday tour walk run ride swim jump nap sleep rest "
    "break bite sip dance lunch-time habit habits lives test sight city-life hustle bustle viewer "
    "observer spectator's camera lens touches accent accents tone tones palette scheme element "
    "elements feature features aspect aspects subject subjects advertisement ad safari-park-ad "
    "title series sequence juxtaposition interplay essence aura air vibe vibes spirit symbol "
    "symbolism metaphor concept inspiration imagination creativity craftsmanship intricacy "
    "precision skill talent trace signs evidence thing things scale scenario zoom camera-lens ease "
    "stop preparation need hand-painting advantage turn start case sake thanks cool mid-flight "
    "soccer football basketball tennis baseball golf hockey cricket rugby volleyball badminton "
    "chess poker polo bowling yoga karate hide-and-seek catch fetch inside outside interior "
    "exterior mid-jump mid-stride full-color color-scheme monochrome grayscale sepia "
    "black-and-white"
)
"""Heads of phrases that name no object ("in the distance", "a stark contrast")."""
ABSTRACT_SUFFIXES = ("ness", "ity", "ism", "ship", "hood", "ence", "ancy", "ency", "tude")
ABSTRACT_EXCEPTIONS = word_set(
    "city university facility audience fence harness ship spaceship warship battleship starship "
    "airship steamship witness lioness electricity neighborhood neighbourhood hood monk-hood prism "
    "wilderness likeness residence conference science robin-hood childhood monkshood celebrity "
    "deity community flagship lightship rocketship gunship longship business governess amenity "
    "commodity cavity evidence intelligence parenthood bassinet essence-bottle"
)

GENERIC = word_set(
    "animal creature vehicle structure object figure item insect pet beast machine device "
    "couple duo pair trio group subject one container feline canine "
    "appliance "
)
""" "The animal", behind a cat, is that cat."""

PERSONS = word_set(
    "person man woman boy girl child kid baby lady gentleman guy toddler teenager adult player "
    "rider surfer skier skateboarder snowboarder skater chef cook waiter waitress farmer fisherman "
    "fireman firefighter policeman policewoman officer soldier astronaut doctor nurse teacher "
    "student worker driver cyclist biker motorcyclist tourist traveler traveller pedestrian "
    "musician guitarist pianist drummer singer dancer artist painter photographer king queen "
    "prince princess knight wizard witch fairy mermaid angel pirate cowboy clown bride groom "
    "couple family friend mother father mom dad parent son daughter brother sister grandmother "
    "grandfather grandma grandpa uncle aunt crowd people team human robot alien zombie ghost "
    "vampire elf dwarf giant snowman batter pitcher catcher umpire athlete runner swimmer "
    "businessman businesswoman customer shopper passenger vendor barista librarian scientist "
    "superhero ninja samurai monk nun priest santa infant hiker climber gardener baker jockey "
    "sailor captain pilot mechanic carpenter shepherd hunter explorer female male spectator "
    "skeleton cop judge guest visitor actor actress model gnome monster dragon unicorn centaur "
    "cyborg android"
)
FEMALE = word_set("woman girl lady mother mom daughter sister grandmother grandma aunt queen "
                  "princess bride witch mermaid waitress actress nun female fairy "
                  "businesswoman policewoman lioness hen cow ballerina")  # fmt: skip
MALE = word_set("man boy guy gentleman father dad son brother grandfather grandpa uncle king "
                "prince groom wizard knight cowboy male monk priest fireman policeman fisherman "
                "businessman rooster bull snowman")  # fmt: skip
_ANIMALS = (
    "cat dog horse cow sheep goat pig elephant giraffe zebra lion tiger bear panda monkey gorilla "
    "ape chimpanzee rabbit bunny hare squirrel mouse rat hamster fox wolf deer moose elk kangaroo "
    "koala sloth raccoon skunk badger otter beaver hedgehog porcupine bat bird owl eagle hawk "
    "falcon parrot pigeon dove crow raven sparrow robin peacock flamingo penguin duck duckling "
    "goose swan chicken hen rooster chick turkey ostrich pelican seagull gull crane stork heron "
    "hummingbird woodpecker toucan canary frog toad turtle tortoise snake lizard iguana gecko "
    "chameleon crocodile alligator dinosaur fish goldfish shark whale dolphin seal walrus octopus "
    "squid jellyfish crab lobster shrimp starfish seahorse snail slug worm spider scorpion ant bee "
    "wasp butterfly moth dragonfly ladybug beetle fly mosquito grasshopper cricket caterpillar "
    "puppy kitten kitty calf lamb foal pony donkey mule camel llama alpaca buffalo bison bull ox "
    "rhino rhinoceros hippo hippopotamus leopard cheetah jaguar panther lynx cougar hyena jackal "
    "corgi poodle terrier retriever bulldog dachshund husky beagle animal creature pet insect "
    "dragon unicorn cub gazelle antelope reindeer anteater armadillo meerkat lemur platypus "
    "stallion mare piglet fawn hound capybara axolotl yak feline canine"
)
ANIMATE = PERSONS | frozenset(_ANIMALS.split())

VEHICLES = word_set(
    "car truck bus train boat ship plane airplane bike bicycle motorcycle helicopter van taxi jeep "
    "sailboat kite flag balloon cloud ball rocket tractor wagon cart scooter tram jet river water "
    "smoke wave leaf bird"
)
"""Things that move by themselves."""

BODY_PARTS = word_set(
    "head face eye ear nose mouth lip tooth tongue chin cheek forehead hair beard mustache "
    "moustache neck shoulder arm elbow wrist hand palm finger thumb fingernail chest torso belly "
    "stomach waist hip lap leg thigh knee shin ankle foot toe paw claw tail trunk tusk horn antler "
    "mane wing feather beak snout whisker hoof fur fin scale shell skin body back hindquarter "
    "eyebrow eyelash fist forearm limb muzzle jaw brow hump stinger tentacle side coat fleece "
    "spine throat heel sole nail"
)
CLOTHING = word_set(
    "shirt t-shirt tshirt dress skirt jacket coat suit tuxedo hat cap helmet scarf glove sock shoe "
    "boot sandal sneaker jeans pants trousers shorts sweater sweatshirt hoodie vest tie bowtie "
    "uniform costume outfit robe gown apron kimono sari swimsuit bikini wetsuit blouse cardigan "
    "blazer raincoat parka poncho cloak cape mask sunglasses glasses goggles crown tiara veil "
    "turban beret beanie clothing clothes attire gear armor armour overalls dungarees pajamas "
    "leggings tights stockings heels slippers belt necklace bracelet earring watch ring spacesuit "
    "jumpsuit jersey top tunic toga headscarf bandana mitten kilt cowboy-hat headband headphones "
    "harness collar"
)
REGIONS = word_set(
    "runway sand mud dirt gravel air hay clouds fog water "
    "room kitchen bedroom bathroom office park garden field forest street road beach city town "
    "village house yard backyard desert jungle ocean sea lake river pond pool water sky snow grass "
    "meadow mountain hill valley zoo farm pasture station restaurant cafe store shop market "
    "library museum school classroom stadium court lot garage hall hallway lobby church castle "
    "studio gym hospital airport harbor harbour dock island countryside woods alley square plaza "
    "area enclosure savannah savanna space cave tunnel sidewalk pavement ground floor lawn path "
    "trail driveway highway"
)
"""Places: what stands in or on them is still next to what follows."""

PARTS = word_set(
    "roof wall window door chimney leaf petal branch wheel handle lid sail mast page stripe spot "
    "dot headlight tire curtain shutter balcony tower sleeve button pocket stem spire column arch "
    "sprinkle frosting icing topping logo pattern print label trim edge rim cushion drawer"
)
"""What is part of a thing: a relation behind it speaks of the thing."""
BACKDROPS = REGIONS | word_set("wall ceiling surface background shore bank")
"""What "it" rarely means when something stands before it."""

DEPICTIONS = word_set(
    "statue sculpture figure figurine drawing painting picture photo photograph portrait poster "
    "model image illustration map mural print sketch silhouette reflection shadow logo sign "
    "engraving carving bust symbol replica"
)

MASS = word_set(
    "water grass snow sand rice milk coffee tea juice wine beer soup smoke fog fire ice food bread "
    "cheese butter sugar salt flour hair fur jewelry traffic scenery greenery vegetation foliage "
    "mud dirt gravel hay straw wheat rain mist steam dust ash pasta lettuce ketchup mustard honey "
    "jam chocolate gold silver paper lava moss ivy seaweed sunlight meat furniture luggage "
    "equipment clothing pottery graffiti broccoli spaghetti popcorn ground"
)
PLURALIA = word_set(
    "scissors skis jeans pants trousers shorts leggings tights sunglasses eyeglasses goggles "
    "binoculars headphones earphones tongs pliers pajamas pyjamas clothes glasses overalls "
    "dungarees stockings"
)

_COMPOUNDS = (
    "hot dog,potted plant,teddy bear,polar bear,orange juice,parking meter,dining table,"
    "cutting board,washing machine,sewing machine,swimming pool,shopping cart,shopping bag,"
    "shopping basket,rocking chair,fishing rod,fishing boat,sleeping bag,ironing board,"
    "vending machine,running shoe,frying pan,rolling pin,measuring cup,measuring tape,boxing glove,"
    "hiking boot,racing car,living room,dining room,dining chair,stuffed animal,stuffed bear,"
    "stuffed toy,hard hat,hard drive,glass bottle cap,paper towel,paper clip,paper bag,paper plane,"
    "paper airplane,tin can,flat screen,high chair,high heel,top hat,french fry,sweet potato,"
    "red panda,red wine,white wine,blue jay,green bean,green onion,bell pepper,soft drink,soft toy,"
    "toilet paper,wet suit,dry erase board,ice cream,open sign,stone bridge,straw hat,fire hydrant,"
    "stop sign,traffic light,wine glass,sports ball,sports car,baseball bat,baseball glove,"
    "tennis racket,cell phone,hair drier,rubber duck,coffee table,coffee cup,coffee mug,"
    "computer mouse,computer keyboard,tv remote,wedding cake,wedding ring,wedding dress,"
    "walking stick,baked potato,fried egg,boiled egg,fried rice,fried chicken,mashed potato,"
    "grilled cheese,bald eagle,golden retriever,guinea pig,big ben,big wheel,long board,wild boar,"
    "wild horse,mini fridge,electric guitar,electric fan,electric kettle,lounge chair,reading lamp,"
    "reading glasses,drinking glass,drinking fountain,mixing bowl,serving tray,hanging lamp,"
    "hanging plant,diving board,bathing suit,climbing frame,dressing table,changing table,"
    "building block,knitting needle,playing card,chopping board,tape measure,glass door,"
    "parking lot,train station,street light,traffic cone,street sign,road sign,shopping mall,"
    "light bulb,light switch,light fixture,light post,light pole,play ground,watch tower,"
    "park bench,picnic table,picnic basket,picnic blanket,ski lift,ski pole,ski slope,skate park,"
    "skate board,surf board,snow board,fly swatter,train track,rail track,race car,race track,"
    "sail boat,row boat,rowing boat,motor boat,motor bike,dirt bike,water bottle,water fountain,"
    "water tower,water lily,fish tank,fish bowl,fishing net,fishing pole,bird cage,bird house,"
    "bow tie,neck tie,show case,store front,stop light,cook book,note book,text book,"
    "phone booth,call box,fire place,fire truck,fire engine,fire escape,fire extinguisher,"
    "cross walk,cross bow,paint brush,paint bucket,paint can,hair brush,tooth brush,hand bag,"
    "hand rail,lead singer,drum set,tea set,train set,tv set,tv stand,news stand,fruit stand,"
    "hot air balloon,hot tub,cold drink,black hole,white board,"
    "blue whale,blue cheese,red fox,red cabbage,polar bear,great pyramid,"
    "great wall,golden gate bridge,statue of liberty,cheese board,chess board,surf shop,"
    "changing room,waiting room,waiting area,meeting room,boxing ring,skating rink,bowling ball,"
    "bowling alley,bowling pin,cooking pot,baking sheet,baking tray,serving dish,watering can,"
    "shaving cream,sewing kit,gaming console,gaming chair,washing line,clothes line,steering wheel,"
    "spinning top,spinning wheel,flying saucer,flying disc,marching band,crossing sign,lawn mower,"
    "warning sign,racing bike,riding boot,riding hat,rowing machine,running track,coloring book,"
    "landing strip,hanging basket,skipping rope,jumping rope,swinging door,hummingbird feeder,"
    "cherry blossom,face mask,head board,nail polish,lip stick,chain saw,ear ring,key ring,"
    "onion ring,tree trunk,swim suit,swim cap,cut out,flower bed,truck bed,notice board,"
    "sleeping mask,double decker bus,double decker,deep fryer,cool box,solar panel,flat iron,"
    "new york,stained glass,stained glass window,stuffed pepper,pickled cucumber,roasted turkey,"
    "roast chicken,sliced bread,canned food,framed picture,framed photo,printed circuit board,"
    "mounted police,flat bread,short cake,easy chair,folding chair,folding table,"
    "pine cone,traffic sign,body of water,bird of paradise,lily of the valley,bottle opener,"
    "living area,living space,seating area,dining area,parking garage,parking space,building site,"
    "tennis match,pastry chef,potted flower,rubber band,wood stove,television set,tv set,"
    "tea set,chess set,drum set,iron throne,steel drum,"
    "brick oven,clay pot,crystal ball,silk worm,leather jacket,paper crane,paper lantern,"
    "paper boat,paper cup,paper plate,plastic bag,plastic bottle,glass jar,glass bottle,glass vase,"
    "glass window,glass bowl,metal bowl,bread basket,bean bag,wooden horse"
)
COMPOUNDS = frozenset(_COMPOUNDS.split(",")) - word_set("wooden-horse")
"""Nouns of several words, some of which look like an adjective or a verb (singular)."""
COMPOUNDS -= {
    "glass jar", "glass bottle", "glass vase", "glass window", "glass bowl", "metal bowl",
    "wooden horse", "leather jacket", "plastic bag", "plastic bottle", "paper plate", "glass door",
}  # fmt: skip

COMPOUND_STARTS = frozenset(name.partition(" ")[0] for name in COMPOUNDS)

ED_NOUNS = word_set(
    "bed shed sled seed weed reed steed breed feed red need toolshed watershed speed bobsled "
    "flowerbed riverbed seabed moped biped quadruped hotbed crossbreed"
)
ING_NOUNS = word_set(
    "painting building ring king string wing ceiling swing clothing railing sibling earring awning "
    "duckling dumpling wedding pudding thing spring sling evening morning drawing carving keyring "
    "sapling seedling gosling lightning herring starling bling stuffing topping icing frosting "
    "parking dining ping-pong fencing crossing landing siding flooring bedding meeting gathering "
    "setting lighting rendering writing viking inning dressing filling covering engraving "
    "lettering plumbing scaffolding housing outbuilding wiring wing-ding wrapping paneling "
    "panelling shelving piping roofing paving something nothing anything everything ceilings "
    "marking opening clearing offering serving "
)
LY_NOUNS = word_set(
    "fly butterfly dragonfly firefly belly jelly lily family bully assembly ally doily dolly "
    "pulley lovely ugly silly smelly curly woolly friendly lively lonely hilly bubbly cuddly early "
    "only elderly wooly holy trolly monopoly barfly potbelly wobbly prickly chilly bodily homely "
    "heavenly ghostly scholarly sly ply july italy melancholy kelly billy reply supply anomaly "
    "costly deadly knobbly wrinkly crinkly sparkly fly-by underbelly gadfly horsefly housefly "
    "jolly gnarly burly surly pearly oily orderly likely unlikely tally rally alley"
)
